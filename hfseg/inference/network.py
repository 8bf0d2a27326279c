"""A model of `transformers` as a function from images to class scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from PIL import Image, ImageOps
from transformers import BaseImageProcessor, PreTrainedModel, ProcessorMixin

from hfseg.data.pixel_values import whole_image_options
from hfseg.errors import UserError
from hfseg.inference.views import Views
from hfseg.models.confidence import at_temperature, temperature_of
from hfseg.models.loading import first_line
from hfseg.models.logits import resize_logits
from hfseg.models.universal import class_probabilities, is_universal

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels."""

ImageProcessor: TypeAlias = BaseImageProcessor | ProcessorMixin
"""OneFormer's processor also takes text."""


@dataclass(frozen=True)
class Pixels:
    """The input of a model that returns `logits`.

    Attributes:
        values: (N, 3, h, w).
        content: (top, left, bottom, right) of the image in them; the rest is padding.
    """

    values: torch.Tensor
    content: Box

    @classmethod
    def batch(cls, parts: "Sequence[Pixels]") -> "Pixels":
        """Several images of one size."""
        return cls(torch.cat([part.values for part in parts]), parts[0].content)


class Network(Protocol):
    """What `Segmenter` needs of a model."""

    def inputs(self, image: Image.Image, whole: bool) -> Any:
        """The model's input for an image, or for a tile of one (`whole` False)."""

    def logits(self, inputs: Any) -> torch.Tensor | None:
        """(N, C, h, w) float32 at the model's own resolution; None if it returns none."""

    def scores(self, inputs: Any, size: Size, views: Views | None) -> torch.Tensor:
        """(N, C, H, W) float32 at `size`; the class with the largest score is predicted."""

    def probabilities(self, scores: torch.Tensor, views: Views | None) -> torch.Tensor:
        """(C, H, W) scores -> probabilities that sum to 1 over the classes, at the model's
        temperature."""


class SemanticNetwork:
    """A model that returns `logits`: the scores are these, or with `views` probabilities."""

    def __init__(self, model: PreTrainedModel, image_processor: ImageProcessor) -> None:
        self.model = model
        self.image_processor = image_processor

    def inputs(self, image: Image.Image, whole: bool) -> Pixels:
        """A tile keeps its size, even if the processor resizes images."""
        options = {} if whole else {"do_resize": False}
        values = whole_image_pixel_values(self.image_processor, image, **options)
        if not getattr(self.image_processor, "do_pad", None):
            return Pixels(values, (0, 0, *_size(values)))
        return Pixels(values, _content(self.image_processor, image.size, options))

    def logits(self, inputs: Pixels) -> torch.Tensor:
        return self._logits(inputs.values, inputs.content, _size(inputs.values))

    def scores(self, inputs: Pixels, size: Size, views: Views | None) -> torch.Tensor:
        if views is None:
            return resize_logits(self.logits(inputs), size)
        frame = _size(inputs.values)
        top, left, bottom, right = inputs.content
        mirrored = top, frame[1] - right, bottom, frame[1] - left

        def probabilities(view: torch.Tensor, flip: bool) -> torch.Tensor:
            logits = self._logits(view, mirrored if flip else inputs.content, frame)
            return self._normalized(resize_logits(logits, size), dim=1)

        return views.mean_probabilities(probabilities, inputs.values)

    def probabilities(self, scores: torch.Tensor, views: Views | None) -> torch.Tensor:
        probabilities = self._normalized(scores, dim=0) if views is None else scores
        return at_temperature(probabilities, temperature_of(self.model))

    def _normalized(self, scores: torch.Tensor, dim: int) -> torch.Tensor:
        return scores.softmax(dim)

    def _logits(self, values: torch.Tensor, content: Box, frame: Size) -> torch.Tensor:
        """Logits without the padding. `content` is a box in `frame`, the size of unscaled values;
        without padding the logits keep the model's own resolution."""
        values = values.to(self.model.device, self.model.dtype)
        logits = self.model(pixel_values=values).logits.float()
        top, left, bottom, right = content
        if content == (0, 0, *frame):
            return logits
        return resize_logits(logits, frame)[..., top:bottom, left:right]


class ScoreNetwork(SemanticNetwork):
    """Mask2Former and EoMT: their `logits` are sums of probabilities."""

    def _normalized(self, scores: torch.Tensor, dim: int) -> torch.Tensor:
        return class_probabilities(scores, dim)


class ProcessorNetwork:
    """MaskFormer and OneFormer: queries with a mask and a class each.

    Their image processors prepare the inputs and turn the output into class scores
    (`post_process_semantic_segmentation`), one image at a time; tiles are treated as images.
    """

    def __init__(self, model: PreTrainedModel, image_processor: ImageProcessor) -> None:
        self.model = model
        self.image_processor = image_processor

    def inputs(self, image: Image.Image, whole: bool) -> Image.Image:
        """The image itself, so that it can be mirrored before the processor pads or crops it."""
        return image

    def logits(self, inputs: Image.Image) -> None:
        return None

    def scores(self, inputs: Image.Image, size: Size, views: Views | None) -> torch.Tensor:
        if views is None:
            return self._scores(inputs, size)
        if views.scales != (1.0,):
            raise UserError(
                f"{type(self.model).__name__} needs the size that its processor resizes "
                "to: use the view flip only, without scales"
            )
        scores = self._scores(inputs, size)
        if views.flip:
            scores = (scores + self._scores(ImageOps.mirror(inputs), size).flip(-1)) / 2
        return scores

    def _scores(self, image: Image.Image, size: Size) -> torch.Tensor:
        options: dict[str, list[str]] = {}
        if self.model.config.model_type == "oneformer":
            options["task_inputs"] = ["semantic"]
        inputs = self.image_processor(images=image, return_tensors="pt", **options)
        device, dtype = self.model.device, self.model.dtype
        fed = {
            key: value.to(device, dtype if value.is_floating_point() else None)
            if isinstance(value, torch.Tensor)
            else value
            for key, value in inputs.items()
        }
        outputs = self.model(**fed)
        for key in ("class_queries_logits", "masks_queries_logits"):
            outputs[key] = outputs[key].float()
        frame = _size(inputs["pixel_values"])
        content = (0, 0, *frame)
        if getattr(self.image_processor, "do_pad", None):
            content = _content(self.image_processor, image.size, options)
        padded = content != (0, 0, *frame)
        answers = self.image_processor.post_process_semantic_segmentation(
            outputs, target_sizes=[frame if padded else size], return_segmentation_scores=True
        )
        scores = torch.as_tensor(answers[0].segmentation_scores)[None]
        top, left, bottom, right = content
        return resize_logits(scores[..., top:bottom, left:right], size) if padded else scores

    def probabilities(self, scores: torch.Tensor, views: Views | None) -> torch.Tensor:
        return at_temperature(class_probabilities(scores, 0), temperature_of(self.model))


def network_of(model: PreTrainedModel, image_processor: ImageProcessor) -> Network:
    """The `Network` that fits the head of a model."""
    if is_universal(model):
        return ScoreNetwork(model, image_processor)
    queries = type(model).__name__.endswith(("UniversalSegmentation", "InstanceSegmentation"))
    if queries:
        return ProcessorNetwork(model, image_processor)
    return SemanticNetwork(model, image_processor)


def whole_image_pixel_values(
    image_processor: ImageProcessor, image: Image.Image, **options: object
) -> torch.Tensor:
    """(1, 3, h, w) float32: the complete image after the image processor."""
    options = {**whole_image_options(image_processor), **options}
    return image_processor(images=image, return_tensors="pt", **options)["pixel_values"]


def check_processor(image_processor: ImageProcessor, name_or_path: str) -> None:
    """Apply it to a small image, so that a damaged one is reported before the first photo.

    Raises:
        UserError: an option with an impossible value.
    """
    try:
        whole_image_pixel_values(image_processor, Image.new("RGB", (64, 64)))
    except Exception as error:  # whatever an option of the wrong type leads to
        raise UserError(
            f"{name_or_path}: its image processor can't read an image ({first_line(error)}); "
            "correct preprocessor_config.json, or take that of the model it was trained from"
        ) from error


def _size(values: torch.Tensor) -> Size:
    height, width = values.shape[-2:]
    return height, width


def _content(
    image_processor: ImageProcessor, size: tuple[int, int], options: Mapping[str, object]
) -> Box:
    """The box of an image of this (width, height) within its padded pixel values.

    Processors pad on one side or on both, to a multiple or to a size. A white image shows where,
    since the padding is black.
    """
    white = Image.new("RGB", size, "white")
    values = whole_image_pixel_values(
        image_processor, white, do_rescale=False, do_normalize=False, **options
    )
    rows, columns = (values[0].amax(0) > 0).nonzero(as_tuple=True)
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
