"""Loads a model of the SAM family."""

from pathlib import Path

import transformers
from transformers import PreTrainedModel, ProcessorMixin

from hfseg.errors import UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.hub_errors import explain_hub_error
from hfseg.models.loading import first_line, quiet_transformers

# Video checkpoints contain the image model and a memory; the memory is not loaded.
_FAMILY = {
    "sam": ("SamModel", "SamProcessor"),
    "sam_hq": ("SamHQModel", "SamHQProcessor"),
    "sam2": ("Sam2Model", "Sam2Processor"),
    "sam2_video": ("Sam2Model", "Sam2Processor"),
    "edgetam": ("EdgeTamModel", "Sam2Processor"),
    "edgetam_video": ("EdgeTamModel", "Sam2Processor"),
}
_EXAMPLE = "facebook/sam2.1-hiera-tiny"


def load_sam(
    name_or_path: str, *, revision: str | None = None, token: str | bool | None = None
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Load model and processor from a folder or a Hub id.

    Returns:
        `(model, processor)`, with every weight from the checkpoint.

    Raises:
        UserError: no model there, not a SAM, or weights that are missing or damaged.
    """
    folder = Path(name_or_path).expanduser()
    is_folder = folder.is_dir()
    source = str(folder) if is_folder else name_or_path
    if is_folder and not (folder / "config.json").is_file():
        raise UserError(
            f"the folder {folder} contains no model (no config.json): give the folder of a SAM "
            f"saved by transformers, or a Hub id such as {_EXAMPLE}"
        )
    if not is_folder:
        work_offline_without_network()
    options = {"revision": revision or "main", "token": token}
    try:
        config, _ = transformers.PreTrainedConfig.get_config_dict(source, **options)
    except Exception as error:  # each library raises its own; all mean: not found
        raise UserError(_absent(source, is_folder, error)) from error
    kind = config.get("model_type")
    if kind not in _FAMILY:
        raise UserError(
            f"{name_or_path} is not a model of the SAM family (its type: {kind or 'unknown'}): "
            f"give SAM, SAM 2, SAM-HQ or EdgeTAM, such as {_EXAMPLE}"
        )
    model_class, processor_class = (getattr(transformers, name) for name in _FAMILY[kind])
    try:
        with quiet_transformers():
            model, loading = model_class.from_pretrained(
                source, output_loading_info=True, **options
            )
            processor = processor_class.from_pretrained(source, **options)
    except Exception as error:
        raise UserError(_absent(source, is_folder, error)) from error
    parameters = {name for name, _ in model.named_parameters()}
    missing = sorted(parameters & set(loading["missing_keys"]))
    if missing:
        raise UserError(
            f"{name_or_path} lacks {len(missing)} weights of {model_class.__name__} "
            f"({missing[0]}, ...): copy it again, or give another SAM"
        )
    return model, processor


def is_untrained(model: PreTrainedModel) -> bool:
    """Whether the weights are untrained: the bias of every normalization layer is 0.

    These biases start at exactly 0 in every architecture of the family, and every training step
    changes them. Results of such a model only show that the program runs.
    """
    biases = [
        parameter
        for name, parameter in model.named_parameters()
        if "norm" in name and name.endswith(".bias")
    ]
    return bool(biases) and not any(bool(parameter.any()) for parameter in biases)


def _absent(source: str, is_folder: bool, error: Exception) -> str:
    if is_folder:
        return f"the SAM in {source} can't be loaded ({first_line(error)}): save or copy it again"
    cause = explain_hub_error(error, source) or first_line(error)
    return (
        f"{source} is not a local folder, and the Hub reports: {cause}; give the folder of a SAM "
        f"or a Hub id such as {_EXAMPLE}"
    )
