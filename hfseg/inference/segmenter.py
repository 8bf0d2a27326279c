"""`Segmenter`: a trained model and its image processor, from images to masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image

from hfseg.inference.checkpoint import load_trained
from hfseg.inference.images import ImageLike, to_rgb
from hfseg.labels import LabelSet
from hfseg.models.logits import resize_logits

# Upper bound on the resized logits held at once. 150 classes of a 12-megapixel photo would be 7 GB.
_RESIZED_VALUES_AT_ONCE = 2**26


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The answer for one image.

    Attributes:
        mask: (H, W) uint8 class ids, at the image's own size.
        labels: what the ids mean, and their colours.
        image: the upright RGB image the mask belongs to.
        probabilities: (C, H, W) float32, softmax over the classes; None unless asked for.
    """

    mask: np.ndarray
    labels: LabelSet
    image: Image.Image
    probabilities: np.ndarray | None = None

    def overlay(self, opacity: float = 0.55, legend: bool = True) -> Image.Image:
        """The image under its coloured mask, RGB, with the names of the classes that occur.

        Args:
            opacity: of the colours, 0 (the image alone) to 1 (the mask alone).
            legend: whether the names and colours are drawn below the picture.
        """
        from hfseg.report.overlay import overlay

        return overlay(self.image, self.mask, self.labels, opacity=opacity, legend=legend)


class Segmenter:
    """Segments images with a semantic-segmentation model of `transformers`.

    The rule for pixels, the same one that evaluation follows: the model's own image processor
    makes `pixel_values` from the whole image, the logits are resized bilinearly
    (`align_corners=False`) to the image's own size, and every pixel takes the class of its
    largest logit. Each image passes through the model alone, so that a list gets exactly the
    answers that its images get one at a time.

    Args:
        model: a model that returns `logits` of shape (N, C, h, w). It is put into eval mode and
            stays on the device where it is.
        image_processor: the image processor saved with it.

    Example:
        >>> segmenter = Segmenter.from_pretrained("runs/quickstart")
        >>> segmenter("street.jpg").overlay().save("overlay.png")
    """

    def __init__(self, model: Any, image_processor: Any) -> None:
        self.model = model.eval()
        self.image_processor = image_processor
        self.labels = LabelSet.from_config(model.config)

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        trust_remote_code: bool = False,
        device: str | torch.device | None = None,
    ) -> "Segmenter":
        """Load a model folder or a model of the Hub, and move it to `device` (a GPU if any).

        Raises:
            UserError: nothing there, or it is not a semantic-segmentation checkpoint.
        """
        model, image_processor = load_trained(
            str(model_name_or_path),
            revision=revision,
            token=token,
            trust_remote_code=trust_remote_code,
        )
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device), image_processor)

    @overload
    def __call__(
        self, images: ImageLike, *, return_probabilities: bool = False
    ) -> Segmentation: ...

    @overload
    def __call__(
        self, images: Sequence[ImageLike], *, return_probabilities: bool = False
    ) -> list[Segmentation]: ...

    def __call__(
        self, images: ImageLike | Sequence[ImageLike], *, return_probabilities: bool = False
    ) -> Segmentation | list[Segmentation]:
        """Segment one image, or a list of images of any sizes.

        Args:
            images: a PIL image, a (H, W, 3) uint8 array, a path, or a list of them
                (see `hfseg.inference.images.to_rgb` for what is read and how).
            return_probabilities: also keep the (C, H, W) float32 probabilities.

        Returns:
            A `Segmentation` for one image, a list of them for a list.

        Raises:
            UserError: something in `images` is not an image.
        """
        if isinstance(images, (list, tuple)):
            return [self._segment(image, return_probabilities) for image in images]
        return self._segment(images, return_probabilities)

    @torch.inference_mode()
    def _segment(self, image: ImageLike, return_probabilities: bool) -> Segmentation:
        image = to_rgb(image)
        size = (image.height, image.width)
        logits = self._logits(image)
        if return_probabilities:
            resized = resize_logits(logits, size)
            mask = resized.argmax(dim=1)
            probabilities = resized.softmax(dim=1)[0].cpu().numpy()
        else:
            mask = resized_argmax(logits, size)
            probabilities = None
        return Segmentation(
            mask=mask[0].to(torch.uint8).cpu().numpy(),
            labels=self.labels,
            image=image,
            probabilities=probabilities,
        )

    def _logits(self, image: Image.Image) -> torch.Tensor:
        """(1, C, h, w) float32 logits that cover the whole image, at any resolution."""
        pixel_values = whole_image_pixel_values(self.image_processor, image)
        return self.model(pixel_values.to(self.model.device, self.model.dtype)).logits.float()


def whole_image_pixel_values(image_processor: Any, image: Image.Image) -> torch.Tensor:
    """(1, 3, h, w) float32: what the image processor makes of the whole image.

    A centre crop, which some processors of the Hub (MobileViT's) inherited from classification,
    is left out: the logits of a crop, stretched over the whole image, lie beside the objects.
    """
    whole = {"do_center_crop": False} if getattr(image_processor, "do_center_crop", None) else {}
    return image_processor(images=image, return_tensors="pt", **whole)["pixel_values"]


def resized_argmax(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """`resize_logits(logits, size).argmax(1)`, (N, H, W) int64, in bounded memory.

    Channels are resized independently of each other, so a few classes at a time give the same
    numbers; of equal logits the smallest id wins.
    """
    count, classes = logits.shape[:2]
    step = max(1, _RESIZED_VALUES_AT_ONCE // (count * size[0] * size[1]))
    best, mask = resize_logits(logits[:, :step], size).max(dim=1)
    for start in range(step, classes, step):
        value, index = resize_logits(logits[:, start : start + step], size).max(dim=1)
        larger = value > best
        best = torch.where(larger, value, best)
        mask = torch.where(larger, index + start, mask)
    return mask
