"""Encoder weights from a file or the Hub, for any architecture with that encoder."""

import contextlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModel, PreTrainedModel

from hfseg.errors import UserError, counted
from hfseg.models.image_processors import Statistics, stored_statistics
from hfseg.models.loading import encoder_parts, first_line, quiet_transformers, unreachable
from hfseg.models.universal_eomt import load_dino

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_FILES = ("model.safetensors", "pytorch_model.bin")
# Parameters that a backbone has for segmentation only, so classification checkpoints lack them.
_ADDED = re.compile(r"hidden_states_norms\.|num_batches_tracked$")
_REMEDY = "give a local file or folder with --encoder_weights, or train with --from_scratch"


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a `.safetensors` or `.pth` file, or from the one in a folder.

    Pickles are read with `weights_only=True`, so that no code in them runs. A state dict inside
    a training checkpoint (`{"state_dict": ...}`) is found.

    Raises:
        UserError: a missing or damaged file, or a pickle that contains more than tensors.
    """
    file = _find_file(Path(path))
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{file} can't be read as safetensors ({first_line(error)}); download it again"
            ) from error
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file} is a pickle that contains more than tensors or is damaged, so it is not read "
            "(it could run code); save only the weights, with torch.save(model.state_dict()) or as "
            "safetensors"
        ) from error
    except (RuntimeError, OSError, EOFError) as error:
        raise UserError(
            f"{file} can't be read as weights ({first_line(error)}); download it again"
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise UserError(
            f"{file} contains a {type(content).__name__}, not named tensors; save a state dict"
        )
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise UserError(f"{file} contains no named tensors; save a state dict")
    return tensors


def _find_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"--encoder_weights {path}: no such file or folder; check the path")
    found = [path / name for name in _FILES if (path / name).is_file()]
    found = found or sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not found:
        raise UserError(
            f"--encoder_weights {path}: this folder has no {' or '.join(SUFFIXES)} file; give one "
            "with weights"
        )
    return found[0]


def load_encoder_weights(
    model: PreTrainedModel, tensors: Mapping[str, torch.Tensor], source: str
) -> None:
    """Load a state dict into the model's encoder, completely or not at all.

    Names may be those of torchvision, timm, segmentation_models_pytorch or transformers, with or
    without a prefix such as `backbone.`; tensors that the encoder lacks (a classifier) are ignored.

    Args:
        source: flag and place of the tensors, for messages.

    Raises:
        UserError: the tensors belong to another encoder.
    """
    parts = list(encoder_parts(model).values())
    if len(parts) > 1:
        raise UserError(
            f"{source}: {_kind(model)} takes its encoder from a folder or Hub id "
            "with a config.json, not from a file of weights"
        )
    encoder = parts[0]
    wanted = encoder.state_dict()
    fitted: dict[str, torch.Tensor] = {}
    for rename in (str, torchvision_to_transformers):
        candidate = _fit({rename(key): value for key, value in tensors.items()}, wanted)
        fitted = max(fitted, candidate, key=len)
    missing = [key for key in wanted if key not in fitted and not _ADDED.search(key)]
    wrong = [key for key in fitted if fitted[key].shape != wanted[key].shape]
    if missing or wrong:
        first = (wrong or missing)[0]
        shape = f" of shape {tuple(wanted[first].shape)}"
        raise UserError(
            f"{source}: these are the weights of another encoder; "
            f"{_kind(model)} needs {len(wanted)} tensors, {len(missing)} are missing and "
            f"{len(wrong)} have another shape (the first is {first}{shape}); give weights of this "
            "encoder or choose the model they belong to"
        )
    encoder.load_state_dict({**wanted, **fitted}, strict=True)


def _fit(
    tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The part of `tensors` that is wanted, with the prefix for which most names agree."""
    anchor = next(iter(wanted))
    strip = {key.removesuffix(anchor) for key in tensors if key.endswith(anchor)}
    add = {anchor.removesuffix(key) for key in tensors if key and anchor.endswith(key)}
    candidates = [
        {
            key.removeprefix(prefix): value
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
        for prefix in strip
    ]
    candidates += [{prefix + key: value for key, value in tensors.items()} for prefix in add]
    fitted = [{k: v for k, v in each.items() if k in wanted} for each in candidates]
    return max(fitted, key=len, default={})


def torchvision_to_transformers(name: str) -> str:
    """A tensor of torchvision's ResNet under the name it has in transformers' ResNet."""
    parts = {"conv": "convolution", "bn": "normalization"}
    stem = re.fullmatch(r"(.*\b)?(conv|bn)1\.(\w+)", name)
    if stem and "layer" not in name:
        return f"embedder.embedder.{parts[stem[2]]}.{stem[3]}"
    match = re.fullmatch(r"(?:.*\.)?layer(\d)\.(\d+)\.(conv|bn)(\d)\.(\w+)", name)
    if match:
        stage, block, kind, layer, rest = match.groups()
        return (
            f"encoder.stages.{int(stage) - 1}.layers.{block}.layer.{int(layer) - 1}."
            f"{parts[kind]}.{rest}"
        )
    match = re.fullmatch(r"(?:.*\.)?layer(\d)\.(\d+)\.downsample\.([01])\.(\w+)", name)
    if match:
        stage, block, index, rest = match.groups()
        kind = ("convolution", "normalization")[int(index)]
        return f"encoder.stages.{int(stage) - 1}.layers.{block}.shortcut.{kind}.{rest}"
    return name


def _kind(model: PreTrainedModel) -> str:
    return getattr(model.config, "encoder_name", None) or type(model).__name__


def load_smp_weights(model: PreTrainedModel, weights: str) -> Statistics | None:
    """Fill an encoder of segmentation_models_pytorch from the Hub, by the name of its weights.

    Args:
        weights: `imagenet` or another name the encoder offers, or a Hub id.

    Returns:
        Mean and standard deviation that the weights were trained with, None if the repository
        does not state them.

    Raises:
        UserError: a name the encoder does not offer, or weights that can't be downloaded.
    """
    repository, revision = smp_repository(model.config.encoder_name, weights)
    try:
        file = hf_hub_download(repository, "model.safetensors", revision=revision)
        with contextlib.suppress(EntryNotFoundError):
            hf_hub_download(repository, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise unreachable(repository, error, _REMEDY) from error
    load_encoder_weights(model, read_state_dict(file), f"--encoder_weights {repository}")
    return stored_statistics(Path(file).parent)


def smp_repository(encoder_name: str, weights: str) -> tuple[str, str | None]:
    """Hub id and revision of an encoder's weights, given by name or as a Hub id.

    Raises:
        UserError: a name the encoder does not offer.
    """
    from segmentation_models_pytorch.encoders import encoders

    if "/" in weights:
        return weights, None
    if encoder_name.startswith("tu-") and weights == "imagenet":
        import timm

        pretrained = timm.models.get_pretrained_cfg(encoder_name.removeprefix("tu-"))
        repository = getattr(pretrained, "hf_hub_id", None)
        if repository is None:
            raise UserError(f"timm has no weights for {encoder_name}; {_REMEDY}")
        return repository, None
    settings = encoders.get(encoder_name, {}).get("pretrained_settings", {})
    if weights in settings:
        return settings[weights]["repo_id"], settings[weights]["revision"]
    offered = ", ".join(settings) or ("imagenet" if encoder_name.startswith("tu-") else "none")
    raise UserError(
        f"--encoder_weights {weights}: no such file or folder, and {encoder_name} offers no "
        f"weights of this name (it offers: {offered}); {_REMEDY}"
    )


def load_backbone(model: PreTrainedModel, source: str, **hub: bool) -> None:
    """Load the encoder of a transformers model, which a config alone would leave random.

    Raises:
        UserError: weights that can't be downloaded, or that lack tensors of the backbone.
    """
    parts = list(encoder_parts(model).values())
    one: PreTrainedModel | None = parts[0] if len(parts) == 1 else None
    try:
        with quiet_transformers():
            if one is None:  # EoMT, which is a DINO encoder with additions
                backbone, info = AutoModel.from_pretrained(source, output_loading_info=True, **hub)
            else:
                backbone, info = type(one).from_pretrained(
                    source, config=one.config, output_loading_info=True, **hub
                )
    except (OSError, ValueError, RuntimeError) as error:
        raise unreachable(source, error, _REMEDY) from error
    lost = sorted(key for key in info["missing_keys"] if not _ADDED.search(key))
    if lost or info["mismatched_keys"]:
        wrong = f"lack {counted(len(lost), 'tensor')}" if lost else "have other shapes than those"
        first = f" (the first is {lost[0]})" if lost else ""
        raise UserError(
            f"the weights in {source} {wrong} of the backbone {type(backbone).__name__}{first}; "
            "they belong to another model, so give weights of this one"
        )
    if one is None:
        load_dino(model, backbone)
    else:
        one.load_state_dict(backbone.state_dict(), strict=True)
