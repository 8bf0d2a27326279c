"""Loads a trained segmentation checkpoint, or reports in one sentence why it can't be used."""

import logging
import math
from collections.abc import Iterable
from pathlib import Path

from transformers import (
    IMAGE_PROCESSOR_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    AutoProcessor,
    BaseImageProcessor,
    PreTrainedModel,
    SegformerImageProcessor,
)

from hfseg.errors import UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.hub_errors import explain_hub_error
from hfseg.inference.network import ImageProcessor

# hfseg.models also registers our own architectures with the Auto classes
from hfseg.models.loading import (
    OWN_CODE,
    check_finite,
    first_line,
    needs_own_code,
    quiet_transformers,
    report_remote_code,
)

logger = logging.getLogger("hfseg")

# What can only be a folder. "a/b" may be either, so it is looked up on the Hub.
_FOLDER_PREFIXES = ("/", "./", "../", "~", "runs/")


def load_trained(
    name_or_path: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, ImageProcessor]:
    """The model and the image processor of a folder or a Hub id, for prediction.

    Returns:
        `(model, image_processor)`, every weight of the model read from the checkpoint.

    Raises:
        UserError: nothing there, not a semantic-segmentation checkpoint, weights missing or
            damaged, custom code that was not allowed, or no image processor.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        name_or_path = str(folder)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"the folder {folder} contains no model (no config.json): give the output folder "
                "of a finished run or a checkpoint-* folder in it"
            )
    elif folder.exists() or _can_only_be_a_folder(name_or_path):
        raise UserError(
            f"there is no model folder {name_or_path}: train one, or give another folder or the "
            "id of a model on the Hub"
        )
    else:
        work_offline_without_network()
    options: dict[str, object] = {
        "revision": revision or "main",
        "token": token,
        "trust_remote_code": trust_remote_code,
    }
    model = _load_model(name_or_path, folder.is_dir(), options)
    return model, _load_image_processor(name_or_path, folder.is_dir(), model, options)


def _load_model(name_or_path: str, is_folder: bool, options: dict[str, object]) -> PreTrainedModel:
    try:
        with quiet_transformers():
            model, loading = _auto_class(name_or_path, options).from_pretrained(
                name_or_path, output_loading_info=True, **options
            )
    except Exception as error:  # each library below raises its own; all mean: not loadable
        may_be_absent = isinstance(error, OSError) and not is_folder
        raise UserError(_why_not(name_or_path, may_be_absent, error)) from error
    missing = _missing_weights(model, loading["missing_keys"])
    if missing:
        raise UserError(
            f"{name_or_path} is not a trained semantic-segmentation checkpoint: it lacks "
            f"{len(missing)} weights of {type(model).__name__} ({missing[0]}, ...); fine-tune it "
            "first, or give another model"
        )
    _check_class_ids(model, name_or_path)
    check_finite(model, name_or_path)
    report_remote_code(model, name_or_path)
    return model


def _check_class_ids(model: PreTrainedModel, name_or_path: str) -> None:
    ids = sorted(map(int, model.config.id2label))
    if ids != list(range(len(ids))):
        raise UserError(
            f"the config.json of {name_or_path} names the classes {ids[0]} to {ids[-1]}, but the "
            f"model's classes are 0 to {len(ids) - 1}: correct id2label"
        )


def _load_image_processor(
    name_or_path: str, is_folder: bool, model: PreTrainedModel, options: dict[str, object]
) -> ImageProcessor:
    # OneFormer takes its task as text, so its processor is not only an image processor
    auto_class = AutoProcessor if model.config.model_type == "oneformer" else AutoImageProcessor
    try:
        processor = auto_class.from_pretrained(name_or_path, **options)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        cause = None if is_folder else explain_hub_error(error, name_or_path)
        if cause is not None:
            raise UserError(
                f"the image processor of {name_or_path} can't be loaded: {cause}"
            ) from error
        raise UserError(
            f"{name_or_path} has no usable image processor (preprocessor_config.json): save the "
            "one it was trained with there"
        ) from error
    _check_normalization(processor, name_or_path)
    _warn_of_another(processor, model, name_or_path)
    return processor


def _check_normalization(processor: ImageProcessor, name_or_path: str) -> None:
    """A processor of another kind of model, or a damaged one, would predict without an error."""
    of_images = getattr(processor, "image_processor", processor)
    if not getattr(of_images, "do_normalize", False):
        return
    mean, std = (_numbers(getattr(of_images, f"image_{name}", None)) for name in ("mean", "std"))
    if len(mean) == len(std) == 3 and min(std) > 0 and all(map(math.isfinite, mean + std)):
        return
    raise UserError(
        f"the image processor of {name_or_path} does not fit (image_mean {mean}, image_std {std} "
        "for red, green and blue): save the one the model was trained with there"
    )


def _warn_of_another(processor: ImageProcessor, model: PreTrainedModel, source: str) -> None:
    """Other models' processors may be right: hfseg saves SegFormer's with every model."""
    config = type(model.config)
    usual = IMAGE_PROCESSOR_MAPPING.get(config, None)
    if not isinstance(usual, dict) or not isinstance(processor, BaseImageProcessor):
        return
    known = tuple(each for each in usual.values() if each is not None)
    if known and not isinstance(processor, (*known, SegformerImageProcessor)):
        logger.warning(
            "the image processor of %s is a %s, which usually belongs to another model than %s: "
            "if the masks look wrong, save the one it was trained with there",
            source, type(processor).__name__, type(model).__name__,
        )  # fmt: skip


def _numbers(value: object) -> list[float]:
    try:
        return [float(each) for each in value]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return []


def _auto_class(
    name_or_path: str, options: dict[str, object]
) -> type[AutoModelForSemanticSegmentation | AutoModelForUniversalSegmentation]:
    """For universal models (Mask2Former, OneFormer, EoMT ...) or semantic ones, by the config."""
    config = AutoConfig.from_pretrained(name_or_path, **options)
    universal = type(config) in AutoModelForUniversalSegmentation._model_mapping
    return AutoModelForUniversalSegmentation if universal else AutoModelForSemanticSegmentation


def _can_only_be_a_folder(name_or_path: str) -> bool:
    return (
        name_or_path.startswith(_FOLDER_PREFIXES)
        or name_or_path.count("/") > 1
        or "\\" in name_or_path
        or not name_or_path
    )


def _missing_weights(model: PreTrainedModel, missing_keys: Iterable[str]) -> list[str]:
    """Parameters with random values; an auxiliary head is only used in training."""
    parameters = {name for name, _ in model.named_parameters()}
    return sorted(
        key for key in missing_keys if key in parameters and not key.startswith("auxiliary_head")
    )


def _why_not(name_or_path: str, may_be_absent: bool, error: Exception) -> str:
    text = str(error)
    if needs_own_code(error):
        return OWN_CODE.format(name_or_path)
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return (
            f"{name_or_path} is not a semantic-segmentation checkpoint: give one that "
            "AutoModelForSemanticSegmentation can load"
        )
    if may_be_absent:
        cause = explain_hub_error(error, name_or_path)
        if cause is not None:
            return f"{name_or_path} is not a local folder, and the Hub reports: {cause}"
        return (
            f"{name_or_path} is not a local folder, and can't be loaded from the Hub: check the "
            "name, the network, and your access (a token) if it is private"
        )
    return (
        f"the model {name_or_path} can't be loaded ({first_line(error)}): fix that, or copy the "
        "model again"
    )
