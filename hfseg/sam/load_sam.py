"""Load a model of the SAM family, and say in one sentence why one can't be used."""

from pathlib import Path
from typing import Any

from hfseg.errors import UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.hub_errors import explain_hub_error
from hfseg.models.loading import first_line, quiet_transformers

# A checkpoint for videos holds the image model and a memory beside it, which is left out.
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
) -> tuple[Any, Any]:
    """The model and the processor of a folder or a Hub id.

    Returns:
        `(model, processor)`, every weight of the model read from the checkpoint.

    Raises:
        UserError: nothing there, not a SAM, or weights missing or damaged.
    """
    import transformers

    folder = Path(name_or_path).expanduser()
    is_folder = folder.is_dir()
    source = str(folder) if is_folder else name_or_path
    if is_folder and not (folder / "config.json").is_file():
        raise UserError(
            f"the folder {folder} holds no model (no config.json): give the folder of a SAM saved "
            f"by transformers, or a Hub id such as {_EXAMPLE}"
        )
    if not is_folder:
        work_offline_without_network()
    options: dict[str, Any] = {"revision": revision or "main", "token": token}
    try:
        config, _ = transformers.PreTrainedConfig.get_config_dict(source, **options)
    except Exception as error:  # each library below has its own; all mean: not there
        raise UserError(_absent(source, is_folder, error)) from error
    kind = config.get("model_type")
    if kind not in _FAMILY:
        raise UserError(
            f"{name_or_path} is no model of the SAM family but {kind or 'of unknown type'}: give "
            f"SAM, SAM 2, SAM-HQ or EdgeTAM, such as {_EXAMPLE}"
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


def is_untrained(model: Any) -> bool:
    """Whether no training step has touched the weights: every normalisation's shift is 0.

    They start at exactly 0 in every architecture of the family, and a step moves all of them.
    Results of such a model say that the program runs, and nothing else.
    """
    shifts = [
        parameter
        for name, parameter in model.named_parameters()
        if "norm" in name and name.endswith(".bias")
    ]
    return bool(shifts) and not any(bool(parameter.any()) for parameter in shifts)


def _absent(source: str, is_folder: bool, error: Exception) -> str:
    if is_folder:
        return f"the SAM in {source} can't be loaded ({first_line(error)}): save or copy it again"
    cause = explain_hub_error(error, source) or first_line(error)
    return (
        f"there is no folder {source}, and from the Hugging Face Hub: {cause}; give the folder of "
        f"a SAM or a Hub id such as {_EXAMPLE}"
    )
