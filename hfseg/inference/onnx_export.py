"""Exports a model to ONNX, and checks that onnxruntime gives the same results.

Height, width and batch are dynamic if the exported graph is correct at sizes other than the traced
one. That is measured, not assumed: UperNet with ConvNeXt exports without an error, but is wrong at
other sizes. Such a model gets a fixed size, and onnxruntime rejects any other.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import BaseImageProcessor, PreTrainedModel

from hfseg.data import toyscapes
from hfseg.data.pixel_values import whole_image_options
from hfseg.errors import UserError
from hfseg.inference.network import whole_image_pixel_values
from hfseg.models.loading import first_line
from hfseg.models.logits import resize_logits
from hfseg.processes import Processes

MIN_AGREEMENT = 0.999
Size = tuple[int, int]


@dataclass(frozen=True)
class Parity:
    """torch against onnxruntime at one size.

    Attributes:
        size: (height, width) of the images.
        agreement: fraction of pixels with the same class, in the worst image.
        difference: largest absolute difference of two logits.
    """

    size: Size
    agreement: float
    difference: float


@dataclass(frozen=True)
class Exported:
    """The result of an export; `dynamic`: any batch and image size."""

    dynamic: bool
    parities: list[Parity]


class _Logits(torch.nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixel_values).logits


def export_onnx(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    images: Sequence[Image.Image],
    path: Path,
    size: Size,
    fixed_size: bool = False,
) -> Exported:
    """Write `path`: `pixel_values` (N, 3, H, W) float32 -> `logits` (N, C, h, w).

    Of several processes the first exports, and all share the images of the comparison.

    Args:
        images: photos for the comparison, resized to each size that is tried.
        size: (height, width) used for tracing; dynamic sizes are also compared at two others.
        fixed_size: don't try dynamic sizes.

    Raises:
        UserError: the model can't be exported, or its results differ from torch.
    """
    model = model.eval().float().cpu()
    processes = Processes()
    attempt = path.with_name(f"{path.name}.part")
    try:
        for dynamic in (False,) if fixed_size else (True, False):
            sizes = [size, *_other_sizes(size)] if dynamic else [size]
            problem = processes.agreed(partial(_try_export, model, attempt, size, dynamic))
            if problem is not None:
                continue
            found = _shared_parities(model, image_processor, attempt, images, sizes, processes)
            if isinstance(found, str):
                problem = found
                continue
            worst = min(found, key=lambda each: each.agreement)
            if worst.agreement >= MIN_AGREEMENT:
                if processes.is_first:
                    attempt.replace(path)
                return Exported(dynamic, found)
            height, width = worst.size
            problem = (
                f"{worst.agreement:.2%} of the pixels agree at {height} x {width}, less than "
                f"{MIN_AGREEMENT:.1%}"
            )
    finally:
        if processes.is_first:
            attempt.unlink(missing_ok=True)
    raise UserError(
        f"{type(model).__name__} ({_architecture(model)}) can't be exported to ONNX: {problem}"
    )


def _shared_parities(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    path: Path,
    images: Sequence[Image.Image],
    sizes: Sequence[Size],
    processes: Processes,
) -> list[Parity] | str:
    """`parity` at each size, of the images of all processes; or why it can't be computed."""
    own = processes.share(images)
    found: list[Parity] | str
    try:
        found = [parity(model, image_processor, path, own, size) for size in sizes]
    except Exception as error:  # onnxruntime raises its own
        found = first_line(error)
    parts = processes.gathered(found)
    for part in parts:
        if isinstance(part, str):
            return part
    return [
        Parity(size, min(p.agreement for p in same), max(p.difference for p in same))
        for size, *same in zip(sizes, *parts, strict=True)
    ]


def parity(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    path: Path,
    images: Sequence[Image.Image],
    size: Size,
) -> Parity:
    """Masks and logits of torch and onnxruntime on `images`, resized to `size`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    agreement, difference = 1.0, 0.0
    for image in images:
        resized = image.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = whole_image_pixel_values(image_processor, resized, do_resize=False).float()
        with torch.inference_mode():
            ours = model(pixel_values=pixels).logits
        theirs = torch.from_numpy(session.run(None, {"pixel_values": pixels.numpy()})[0])
        same = resize_logits(ours, size).argmax(1) == resize_logits(theirs, size).argmax(1)
        agreement = min(agreement, same.float().mean().item())
        difference = max(difference, (ours - theirs).abs().max().item())
    return Parity(size, agreement, difference)


def usage(name: str, image_processor: BaseImageProcessor, size: Size, dynamic: bool) -> str:
    """Python code for a model card that computes the same mask as `Segmenter`.

    It needs onnxruntime, Pillow and NumPy; if the processor has special steps, also transformers.

    Args:
        name: folder or repository of the model.
        size: (height, width) of a file with a fixed size.
    """
    shape = "any size" if dynamic else f"{size[0]} x {size[1]} (height x width) only"
    plain = _is_plain(image_processor)
    imports = "" if plain else "from transformers import AutoImageProcessor\n"
    pixels = (_plain_pixels if plain else _processor_pixels)(name, image_processor, size, dynamic)
    return f'''```python
# ONNX, {shape}
import numpy as np
import onnxruntime
from PIL import Image
{imports}
image = Image.open("photo.jpg").convert("RGB")
{pixels}
session = onnxruntime.InferenceSession("{name}/model.onnx")
(logits,) = session.run(None, {{"pixel_values": np.float32(pixel_values)}})


def bilinear(new, old):
    """(new, old) weights of a bilinear resize with aligned pixel centers."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.float32(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old))))


height, width = logits.shape[-2:]
scores = bilinear(image.height, height) @ logits[0] @ bilinear(image.width, width).T
mask = scores.argmax(0)  # class ids at the image's own size
```
'''


def _is_plain(processor: BaseImageProcessor) -> bool:
    """Whether it only resizes to a fixed size (or not at all) and scales and shifts values."""
    special = ("do_flip_channel_order", "do_pad", "keep_aspect_ratio")
    fixed = not processor.do_resize or {"height", "width"} <= dict(processor.size).keys()
    return fixed and not any(getattr(processor, name, None) for name in special)


def _plain_pixels(name: str, processor: BaseImageProcessor, size: Size, dynamic: bool) -> str:
    lines = []
    if processor.do_resize or not dynamic:
        height, width = size
        if dynamic:
            height, width = int(processor.size["height"]), int(processor.size["width"])
        method = Image.Resampling(int(processor.resample or Image.Resampling.BILINEAR)).name
        lines.append(f"resized = image.resize(({width}, {height}), Image.Resampling.{method})")
        lines.append("pixels = np.asarray(resized, np.float32)")
    else:
        lines.append("pixels = np.asarray(image, np.float32)")
    if processor.do_rescale:
        factor = processor.rescale_factor
        scale = "/ 255" if abs(factor * 255 - 1) < 1e-9 else f"* {factor!r}"
        lines[-1] += f" {scale}"
    if getattr(processor, "do_normalize", None):
        mean, std = list(processor.image_mean), list(processor.image_std)
        lines.append(f"pixels = (pixels - {mean}) / {std}")
    lines.append("pixel_values = pixels.transpose(2, 0, 1)[None]")
    return "\n".join(lines)


def _processor_pixels(name: str, processor: BaseImageProcessor, size: Size, dynamic: bool) -> str:
    options = {"return_tensors": "np", **whole_image_options(processor)}
    if not dynamic:
        options |= {"do_resize": True, "size": {"height": size[0], "width": size[1]}}
    arguments = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return f'''processor = AutoImageProcessor.from_pretrained("{name}")
pixel_values = processor(image, {arguments})["pixel_values"]'''


def _try_export(model: PreTrainedModel, path: Path, size: Size, dynamic: bool) -> str | None:
    """Export, or say why that is impossible."""
    try:
        _export(model, path, size, dynamic)
    except Exception as error:  # each pass of the exporter raises its own
        return first_line(error)
    return None


def _export(model: PreTrainedModel, path: Path, size: Size, dynamic: bool) -> None:
    # a batch of two, since a dimension of size one would become a constant
    example = torch.randn(2 if dynamic else 1, 3, *size)
    free = torch.export.Dim.AUTO
    shapes = {"pixel_values": {0: free, 2: free, 3: free}} if dynamic else None
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            _Logits(model),
            (example,),
            str(path),
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _other_sizes(size: Size) -> list[Size]:
    """A smaller size of another shape and a larger one, in multiples of 32."""
    height, width = size
    return [
        (max(32, height * 3 // 4 // 32 * 32), max(32, width // 32 * 32)),
        (height // 32 * 32 + 64, width // 32 * 32 + 32),
    ]


def _architecture(model: PreTrainedModel) -> str:
    backbone = getattr(model.config, "backbone_config", None)
    return backbone.model_type if backbone is not None else model.config.model_type


@contextmanager
def _quiet() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def example_images(count: int) -> list[Image.Image]:
    """Scenes of toyscapes, for a parity check without photos."""
    return [
        Image.fromarray(np.asarray(toyscapes.draw_scene("validation", index)[0]))
        for index in range(count)
    ]
