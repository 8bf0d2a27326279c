"""What may be done with a model: the licences of the weights it started from and of its data."""

from dataclasses import dataclass

from hfseg.data import dataset_info
from hfseg.models import NAMED_MODELS

_HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class Licence:
    """A licence as a card states it.

    Attributes:
        name: the Hub's identifier, or a name where the Hub lists none; "other" if it has neither.
        link: where its text is.
        terms: what it is about, in half a sentence.
    """

    name: str
    link: str | None = None
    terms: str | None = None


_NVIDIA = Licence(
    "NVIDIA Source Code License for SegFormer",
    "https://github.com/NVlabs/SegFormer/blob/master/LICENSE",
    "for non-commercial use, such as research and evaluation, also of models trained from them",
)
_DINOV3 = Licence(
    "dinov3-license",
    "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    "Meta's terms for DINOv3, also of models trained from it",
)
_BY_PREFIX = {"nvidia/mit-": _NVIDIA, "nvidia/segformer-": _NVIDIA, "facebook/dinov3-": _DINOV3}


def licence_of_weights(repo_id: str) -> Licence | None:
    """That of weights on the Hub: known here, or declared by their card; None if neither."""
    for prefix, licence in _BY_PREFIX.items():
        if repo_id.startswith(prefix):
            return licence
    for named in NAMED_MODELS.values():
        if named.weights == repo_id and named.license:
            return Licence(named.license, _HUB + repo_id)
    return _declared(repo_id, "model")


def licence_of_data(dataset_name: str, dataset_id: str | None) -> Licence | None:
    """That of a built-in data set, or the one that a Hub data set's card declares."""
    info = dataset_info(dataset_name)
    if info is not None:
        return Licence(info.license, info.homepage or None, info.license_note)
    return _declared(dataset_id, "dataset") if dataset_id else None


def licence_of_model(
    weights: Licence | None, data: Licence | None, dataset_name: str, from_scratch: bool
) -> Licence | None:
    """What to declare for a model that was trained from `weights` on `data`; None if unknown.

    The weights' licence, and for one trained from random weights that of the data. Data whose
    terms restrict the use are named instead of a licence that would allow more than they do.
    """
    if not from_scratch and (weights is None or _is_restrictive(weights.name)):
        return weights
    if data is not None and data.name == "other":
        return Licence(f"terms of {dataset_name}", data.link, data.terms)
    if data is not None and (from_scratch or _is_restrictive(data.name)):
        return Licence(data.name, data.link)
    return None if from_scratch else weights


def _is_restrictive(name: str) -> bool:
    return "-nc" in name or name == "other" or name == _NVIDIA.name


def _declared(repo_id: str, repo_type: str) -> Licence | None:
    """From the metadata of a card on the Hub; None if there is no such card or it can't be had."""
    from huggingface_hub import RepoCard

    try:
        said = RepoCard.load(repo_id, repo_type=repo_type, ignore_metadata_errors=True).data
    except Exception:  # whatever the Hub or a stranger's card does: a finished run is not lost
        return None
    key, name = getattr(said, "license", None), getattr(said, "license_name", None)
    if isinstance(key, list):
        key = key[0] if len(key) == 1 else "other"
    if not isinstance(key, str):
        return None
    link = getattr(said, "license_link", None)
    page = _HUB + ("datasets/" if repo_type == "dataset" else "") + repo_id
    return Licence(name or key, link if str(link).startswith("http") else page)
