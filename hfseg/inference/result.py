"""The options and the results of `Segmenter`."""

import io
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from PIL import Image

from hfseg.errors import UserError
from hfseg.inference.network import Network
from hfseg.inference.sliding_window import Size, parse_window
from hfseg.inference.views import Views, parse_views
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import overlay


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The segmentation of one image.

    Attributes:
        mask: (H, W) uint8 class ids, at the image's own size.
        labels: names and colors of the ids.
        image: the upright RGB image the mask belongs to.
        probabilities: (C, H, W) float32, sums to 1 over the classes; None unless requested.
        confidence: (H, W) float32, the probability of the class in `mask`; None unless requested.
        source: the path or URL the image was read from, if it was.
    """

    mask: np.ndarray
    labels: LabelSet
    image: Image.Image
    probabilities: np.ndarray | None = None
    confidence: np.ndarray | None = None
    source: str | None = None

    def overlay(self, opacity: float = 0.55, legend: bool = True) -> Image.Image:
        """The image under its colored mask, RGB, with the names of the classes that occur.

        Args:
            opacity: of the colors, 0 (the image alone) to 1 (the mask alone).
            legend: whether to draw the names and colors below the image.
        """
        return overlay(self.image, self.mask, self.labels, opacity=opacity, legend=legend)

    def _repr_png_(self) -> bytes:
        """The overlay, in a notebook."""
        buffer = io.BytesIO()
        self.overlay().save(buffer, "PNG")
        return buffer.getvalue()


class PredictionOptions(TypedDict, total=False):
    """The keyword arguments of `Segmenter.__call__`."""

    sliding_window: int | Size | None
    stride: int | Size | None
    tta: str | Views | None
    batch_size: int
    return_probabilities: bool
    return_confidence: bool


@dataclass(frozen=True)
class Options:
    """How to predict; see `Segmenter.__call__`."""

    window: Size | None = None
    stride: Size | None = None
    views: Views | None = None
    probabilities: bool = False
    confidence: bool = False

    @classmethod
    def make(
        cls,
        sliding_window: int | Size | None = None,
        stride: int | Size | None = None,
        tta: str | Views | None = None,
        return_probabilities: bool = False,
        return_confidence: bool = False,
    ) -> "Options":
        """Check and parse the options.

        Raises:
            UserError: an invalid window, stride or view.
        """
        window = None
        if sliding_window is not None:
            window, stride = parse_window(sliding_window, stride)
        elif stride is not None:
            raise UserError("a stride needs a sliding window: give sliding_window too")
        return cls(window, stride, parse_views(tta), return_probabilities, return_confidence)


class Answer:
    """A mask that is filled block by block, with probabilities and confidence if requested."""

    def __init__(self, size: Size, num_labels: int, options: Options) -> None:
        self.options = options
        self.mask = np.empty(size, dtype=np.uint8)
        self.probabilities = (
            np.empty((num_labels, *size), dtype=np.float32) if options.probabilities else None
        )
        self.confidence = np.empty(size, dtype=np.float32) if options.confidence else None

    def put(self, rows: slice, columns: slice, scores: torch.Tensor, network: Network) -> None:
        best = scores.argmax(0)
        self.mask[rows, columns] = best.to(torch.uint8).cpu().numpy()
        if self.probabilities is None and self.confidence is None:
            return
        probabilities = network.probabilities(scores, self.options.views)
        if self.probabilities is not None:
            self.probabilities[:, rows, columns] = probabilities.cpu().numpy()
        if self.confidence is not None:
            chosen = probabilities.gather(0, best[None])[0]
            self.confidence[rows, columns] = chosen.cpu().numpy()

    def finished(self, labels: LabelSet, image: Image.Image) -> Segmentation:
        return Segmentation(self.mask, labels, image, self.probabilities, self.confidence)
