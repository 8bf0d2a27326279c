"""The license of a model, from those of the weights it started from and of its data."""

from dataclasses import dataclass

from huggingface_hub import RepoCard

from hfseg.data import dataset_info
from hfseg.models import NAMED_MODELS

_HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class License:
    """A license as stated in a card.

    Attributes:
        name: the Hub's identifier, or its own name if the Hub has none; "other" without either.
        link: URL of its text.
        terms: its terms in a phrase.
    """

    name: str
    link: str | None = None
    terms: str | None = None


_NVIDIA = License(
    "NVIDIA Source Code License for SegFormer",
    "https://github.com/NVlabs/SegFormer/blob/master/LICENSE",
    "for non-commercial use, such as research and evaluation, also of models trained from them",
)
_DINOV3 = License(
    "dinov3-license",
    "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    "Meta's terms for DINOv3, also of models trained from it",
)
_BY_PREFIX = {
    "nvidia/mit-": _NVIDIA,
    "nvidia/segformer-": _NVIDIA,
    "smp-hub/mit_b": _NVIDIA,
    "facebook/dinov3-": _DINOV3,
}


def license_of_weights(repo_id: str) -> License | None:
    """The license of weights on the Hub: known here, or declared in their card; else None."""
    return known_license(repo_id) or _declared(repo_id, "model")


def known_license(repo_id: str) -> License | None:
    """The license of weights on the Hub, if hfseg knows it without asking."""
    for prefix, license in _BY_PREFIX.items():
        if repo_id.startswith(prefix):
            return license
    for named in NAMED_MODELS.values():
        if named.weights == repo_id and named.license:
            return License(named.license, _HUB + repo_id)
    return None


def license_of_data(dataset_name: str, dataset_id: str | None) -> License | None:
    """The license of a built-in dataset, or the one declared in a Hub dataset's card."""
    info = dataset_info(dataset_name)
    if info is not None:
        return License(info.license, info.homepage or None, info.license_note)
    return _declared(dataset_id, "dataset") if dataset_id else None


def license_of_model(
    weights: License | None, data: License | None, dataset_name: str, from_scratch: bool
) -> License | None:
    """The license of a model trained from `weights` on `data`; None if unknown.

    It is that of the weights, or that of the data if training started from random weights. Data
    with restrictive terms takes precedence over a license that would allow more.
    """
    if not from_scratch and (weights is None or _is_restrictive(weights.name)):
        return weights
    if data is not None and data.name == "other":
        return License(f"terms of {dataset_name}", data.link, data.terms)
    if data is not None and (from_scratch or _is_restrictive(data.name)):
        return License(data.name, data.link)
    return None if from_scratch else weights


def _is_restrictive(name: str) -> bool:
    return "-nc" in name or name == "other" or name == _NVIDIA.name


def _declared(repo_id: str, repo_type: str) -> License | None:
    """The license in the metadata of a card on the Hub; None without one or without access."""
    try:
        metadata = RepoCard.load(repo_id, repo_type=repo_type, ignore_metadata_errors=True).data
    except Exception:  # a malformed card or an unavailable Hub must not lose a finished run
        return None
    key, name = getattr(metadata, "license", None), getattr(metadata, "license_name", None)
    if isinstance(key, list):
        key = key[0] if len(key) == 1 else "other"
    if not isinstance(key, str):
        return None
    link = getattr(metadata, "license_link", None)
    page = _HUB + ("datasets/" if repo_type == "dataset" else "") + repo_id
    return License(name or key, link if str(link).startswith("http") else page)
