"""Load a trained segmentation checkpoint, and say in one sentence why one can't be used."""

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    AutoProcessor,
)

from hfseg.errors import UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.hub_errors import explain_hub_error

# this import also registers our own architectures with the Auto classes (hfseg/models/__init__)
from hfseg.models.loading import first_line, quiet_transformers

# What can only be meant as a folder. "a/b" could be either, and is asked of the Hub.
_FOLDER_PREFIXES = ("/", "./", "../", "~", "runs/")


def load_trained(
    name_or_path: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
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
                f"the folder {folder} holds no model (no config.json): give the output folder of "
                "a finished run or a checkpoint-* folder in it"
            )
    elif folder.exists() or _can_only_be_a_folder(name_or_path):
        raise UserError(
            f"there is no model folder {name_or_path}: train one, or give another folder or a "
            "model id of the Hub"
        )

    else:
        work_offline_without_network()

    options = {"revision": revision or "main", "token": token}
    options["trust_remote_code"] = trust_remote_code
    try:
        with quiet_transformers():
            model, loading = _auto_class(name_or_path, options).from_pretrained(
                name_or_path, output_loading_info=True, **options
            )
    except Exception as error:  # each library below has its own; all mean: not loadable
        may_be_absent = isinstance(error, OSError) and not folder.is_dir()
        raise UserError(_why_not(name_or_path, may_be_absent, error)) from error

    missing = _missing_weights(model, loading["missing_keys"])
    if missing:
        raise UserError(
            f"{name_or_path} is not a trained semantic-segmentation checkpoint: it lacks "
            f"{len(missing)} weights of {type(model).__name__} ({missing[0]}, ...); fine-tune it "
            "first, or give another model"
        )
    try:
        # OneFormer is told its task as text, so its processor is more than one of images
        reader = AutoProcessor if model.config.model_type == "oneformer" else AutoImageProcessor
        image_processor = reader.from_pretrained(name_or_path, **options)
    except (OSError, ValueError) as error:
        cause = None if folder.is_dir() else explain_hub_error(error, name_or_path)
        if cause is not None:
            raise UserError(
                f"the image processor of {name_or_path} can't be loaded: {cause}"
            ) from error
        raise UserError(
            f"{name_or_path} has no usable image processor (preprocessor_config.json): save the "
            "one it was trained with into it"
        ) from error
    return model, image_processor


def _auto_class(name_or_path: str, options: dict[str, Any]) -> Any:
    """By the config: universal (Mask2Former, OneFormer, EoMT ...) or semantic."""
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


def _missing_weights(model: Any, missing_keys: Any) -> list[str]:
    """Parameters that kept their random start; an auxiliary head serves training alone."""
    parameters = {name for name, _ in model.named_parameters()}
    return sorted(
        key for key in missing_keys if key in parameters and not key.startswith("auxiliary_head")
    )


def _why_not(name_or_path: str, may_be_absent: bool, error: Exception) -> str:
    text = str(error)
    if "trust_remote_code" in text:
        return (
            f"{name_or_path} brings its own code: read it, and allow it with trust_remote_code "
            "(--trust_remote_code) if you trust it"
        )
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return (
            f"{name_or_path} is not a semantic-segmentation checkpoint: give one that "
            "AutoModelForSemanticSegmentation can load"
        )
    if may_be_absent:
        cause = explain_hub_error(error, name_or_path)
        if cause is not None:
            return f"there is no folder {name_or_path}, and from the Hugging Face Hub: {cause}"
        return (
            f"there is no folder {name_or_path}, and no such model could be loaded from the "
            "Hugging Face Hub: check the name, the network, and your access (a token) if it is "
            "private"
        )
    return (
        f"the model {name_or_path} cannot be loaded ({first_line(error)}): fix that, or copy the "
        "model again"
    )
