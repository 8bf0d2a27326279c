"""Panels of a figure: photos, masks and error maps at their printed size."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from hfseg.labels import LabelSet
from hfseg.visualization.overlay import color_mask, error_map, hatch


def panel_height(mask: np.ndarray, width: float) -> float:
    """Inches: the height of an image shown `width` inches wide, at most 1.3 times the width."""
    rows, columns = np.shape(mask)
    return min(width * rows / columns, 1.3 * width)


@dataclass(frozen=True)
class Panels:
    """The panels of one image. They have their printed size, so the hatching looks alike in all.

    Attributes:
        size: width and height in pixels.
        labels: names and colors.
    """

    size: tuple[int, int]
    labels: LabelSet

    @classmethod
    def fitting(cls, mask: np.ndarray, width: float, dpi: int, labels: LabelSet) -> "Panels":
        """Panels with the aspect ratio of a mask, which fit `width` inches and `panel_height`."""
        rows, columns = np.shape(mask)
        scale = dpi * min(width / columns, panel_height(mask, width) / rows)
        return cls((max(1, round(scale * columns)), max(1, round(scale * rows))), labels)

    def photo(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """An RGB image, or (H, W, 3) uint8 -> (h, w, 3) uint8."""
        if not isinstance(image, Image.Image):
            image = Image.fromarray(np.asarray(image))
        return np.asarray(image.convert("RGB").resize(self.size, Image.Resampling.LANCZOS))

    def classes(self, mask: np.ndarray) -> np.ndarray:
        """(H, W) ids -> (h, w, 3) uint8; ids without a class are hatched."""
        return hatched_classes(self._resized(mask), self.labels)

    def errors(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """(H, W) ids -> (h, w, 3) uint8: their `error_map`."""
        return np.asarray(error_map(self._resized(prediction), self._resized(truth), self.labels))

    def _resized(self, mask: np.ndarray) -> np.ndarray:
        ids = Image.fromarray(np.asarray(mask).clip(max=255).astype(np.uint8))
        return np.asarray(ids.resize(self.size, Image.Resampling.NEAREST))


def hatched_classes(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """(H, W) ids -> (H, W, 3) uint8 in the colors of the classes; other ids are hatched."""
    return hatch(np.asarray(color_mask(mask, labels)), mask >= len(labels))


def add_panel(
    figure: Figure, pixels: np.ndarray, left: float, bottom: float, width: float, height: float
) -> Axes:
    """Show (h, w, 3) pixels without axes, at a place given in inches."""
    full_width, full_height = figure.get_size_inches()
    axes = figure.add_axes(
        (left / full_width, bottom / full_height, width / full_width, height / full_height)
    )
    axes.imshow(pixels, interpolation="none")
    axes.axis("off")
    return axes
