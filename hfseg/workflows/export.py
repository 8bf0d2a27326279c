"""Exports a trained model to `model.onnx`, and checks it against torch."""

from pathlib import Path

from transformers import BaseImageProcessor

from hfseg.data.image_io import image_files, to_rgb
from hfseg.errors import UserError
from hfseg.inference.load_checkpoint import load_trained
from hfseg.inference.onnx_export import example_images, export_onnx, usage
from hfseg.models.universal import is_universal
from hfseg.processes import Processes

_IMAGES = 8


def export(
    model_name_or_path: str,
    *,
    output_dir: str | None = None,
    image_size: tuple[int, int] | None = None,
    fixed_size: bool = False,
    images: str | None = None,
    trust_remote_code: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write `model.onnx` and `onnx.md`, and print how well they agree with torch.

    Args:
        output_dir: None for the model's folder.
        image_size: (height, width) used for tracing; None: the processor's size, or 512 x 512.
        fixed_size: don't try dynamic sizes.
        images: a folder of photos for the comparison; None: scenes of toyscapes.

    Returns:
        The path of the ONNX file.

    Raises:
        UserError: the model does not exist or can't be exported, or the file exists.
    """
    if output_dir is None and not Path(model_name_or_path).is_dir():
        raise UserError("--output_dir is required, since a model on the Hub has no local folder")
    folder = Path(output_dir or model_name_or_path)
    path = folder / "model.onnx"
    if path.exists() and not overwrite:
        raise UserError(f"{path} already exists; replace it (--overwrite) or give --output_dir")
    model, processor = load_trained(model_name_or_path, trust_remote_code=trust_remote_code)
    if is_universal(model):
        raise UserError(
            f"{type(model).__name__} can't be exported to ONNX: its class scores are computed "
            "from queries and masks outside the model"
        )
    size = image_size or _size_of(processor)
    if images is None:
        compared = example_images(_IMAGES)
    else:
        compared = [to_rgb(file) for file in image_files(images)[:_IMAGES]]
    folder.mkdir(parents=True, exist_ok=True)
    exported = export_onnx(model, processor, compared, path, size, fixed_size)
    if not Processes().is_first:
        return path
    if folder != Path(model_name_or_path):
        processor.save_pretrained(folder)
    (folder / "onnx.md").write_text(
        usage(folder.resolve().name, processor, size, exported.dynamic), encoding="utf-8"
    )
    for each in exported.parities:
        print(
            f"{each.size[0]} x {each.size[1]}: {each.agreement:.4%} of pixels agree on the worst "
            f"of {len(compared)} images; logits differ by at most {each.difference:.2g}"
        )
    kind = "any batch and size" if exported.dynamic else f"fixed at 1 x 3 x {size[0]} x {size[1]}"
    print(f"{path}: {kind}", flush=True)
    return path


def _size_of(processor: BaseImageProcessor) -> tuple[int, int]:
    size = dict(getattr(processor, "size", None) or {})
    if getattr(processor, "do_resize", False) and {"height", "width"} <= size.keys():
        return int(size["height"]), int(size["width"])
    return 512, 512
