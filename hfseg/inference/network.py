"""A model of `transformers` as a function from images to class scores."""

from typing import Any, Protocol

import torch
from PIL import Image

from hfseg.data.pixel_values import whole_image_options
from hfseg.errors import UserError
from hfseg.inference.views import Views
from hfseg.models.logits import resize_logits
from hfseg.models.universal import class_probabilities, is_universal

Size = tuple[int, int]


class Network(Protocol):
    """What `Segmenter` needs of a model."""

    def inputs(self, image: Image.Image, whole: bool) -> Any:
        """What the model is fed for an image, or (`whole` False) for a tile of one."""

    def logits(self, inputs: Any) -> torch.Tensor | None:
        """(N, C, h, w) float32 at the model's own resolution; None if it has no such thing."""

    def scores(self, inputs: Any, size: Size, views: Views | None) -> torch.Tensor:
        """(N, C, H, W) float32 at `size`; the largest is the answer."""

    def probabilities(self, scores: torch.Tensor, views: Views | None) -> torch.Tensor:
        """(C, H, W) scores -> probabilities that sum to 1 over the classes."""


class SemanticNetwork:
    """A model that returns `logits`; its scores are these, or probabilities under `views`."""

    def __init__(self, model: Any, image_processor: Any) -> None:
        self.model = model
        self.image_processor = image_processor

    def inputs(self, image: Image.Image, whole: bool) -> torch.Tensor:
        """(1, 3, h, w); a tile keeps its size, whatever the processor does to whole images."""
        options = {} if whole else {"do_resize": False}
        return whole_image_pixel_values(self.image_processor, image, **options)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        pixel_values = inputs.to(self.model.device, self.model.dtype)
        return self.model(pixel_values=pixel_values).logits.float()

    def scores(self, inputs: torch.Tensor, size: Size, views: Views | None) -> torch.Tensor:
        if views is None:
            return resize_logits(self.logits(inputs), size)
        return views.mean_probabilities(
            lambda view: resize_logits(self.logits(view), size).softmax(1), inputs
        )

    def probabilities(self, scores: torch.Tensor, views: Views | None) -> torch.Tensor:
        return scores.softmax(0) if views is None else scores


class ScoreNetwork(SemanticNetwork):
    """Mask2Former and EoMT: their `logits` are sums of probabilities."""

    def scores(self, inputs: torch.Tensor, size: Size, views: Views | None) -> torch.Tensor:
        if views is None:
            return resize_logits(self.logits(inputs), size)
        return views.mean_probabilities(
            lambda view: class_probabilities(resize_logits(self.logits(view), size)), inputs
        )

    def probabilities(self, scores: torch.Tensor, views: Views | None) -> torch.Tensor:
        return class_probabilities(scores, dim=0)


class ProcessorNetwork:
    """MaskFormer and OneFormer: queries with a mask and a class each.

    Their image processors make the inputs and turn the answer into class scores
    (`post_process_semantic_segmentation`); one image at a time, tiles as if they were images.
    """

    def __init__(self, model: Any, image_processor: Any) -> None:
        self.model = model
        self.image_processor = image_processor

    def inputs(self, image: Image.Image, whole: bool) -> dict[str, Any]:
        options: dict[str, Any] = {"return_tensors": "pt"}
        if self.model.config.model_type == "oneformer":
            options["task_inputs"] = ["semantic"]
        return dict(self.image_processor(images=image, **options))

    def logits(self, inputs: dict[str, Any]) -> None:
        return None

    def scores(self, inputs: dict[str, Any], size: Size, views: Views | None) -> torch.Tensor:
        if views is None:
            return self._scores(inputs, size)
        if views.scales != (1.0,):
            raise UserError(
                f"{type(self.model).__name__} works at the size its processor makes: use the "
                "views flip alone, without scales"
            )
        return views.mean_probabilities(
            lambda pixels: self._scores({**inputs, "pixel_values": pixels}, size),
            inputs["pixel_values"],
        )

    def _scores(self, inputs: dict[str, Any], size: Size) -> torch.Tensor:
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
        answers = self.image_processor.post_process_semantic_segmentation(
            outputs, target_sizes=[size], return_segmentation_scores=True
        )
        return torch.as_tensor(answers[0].segmentation_scores)[None]

    def probabilities(self, scores: torch.Tensor, views: Views | None) -> torch.Tensor:
        return scores / scores.sum(0).clamp_min(torch.finfo(scores.dtype).tiny)


def network_of(model: Any, image_processor: Any) -> Network:
    """The way to ask a model, by the head it has."""
    if is_universal(model):
        return ScoreNetwork(model, image_processor)
    queries = type(model).__name__.endswith(("UniversalSegmentation", "InstanceSegmentation"))
    return (ProcessorNetwork if queries else SemanticNetwork)(model, image_processor)


def whole_image_pixel_values(
    image_processor: Any, image: Image.Image, **options: Any
) -> torch.Tensor:
    """(1, 3, h, w) float32: what the image processor makes of the whole image."""
    options = {**whole_image_options(image_processor), **options}
    return image_processor(images=image, return_tensors="pt", **options)["pixel_values"]
