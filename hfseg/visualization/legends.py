"""Legend entries of classes and errors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Patch

from hfseg.labels import Color, LabelSet
from hfseg.visualization.figure_style import shortened
from hfseg.visualization.overlay import CORRECT_COLOR, IGNORED_NAME, WRONG_COLOR

LEGEND_LINE = 0.196  # inches, at a font size of 9


def class_patches(masks: Sequence[np.ndarray], labels: LabelSet) -> list[Patch]:
    """Legend entries of the classes that occur in `masks`, and of pixels without a class."""
    occurring = np.unique(np.concatenate([np.unique(mask) for mask in masks])).tolist()
    patches = [
        _patch(shortened(labels.names[index]), labels.palette[index])
        for index in occurring
        if index < len(labels)
    ]
    if occurring[-1] >= len(labels):
        patches.append(
            Patch(
                label=IGNORED_NAME,
                linewidth=0.5,
                facecolor="#181818",
                edgecolor="#8a8a8a",
                hatch="/////",
            )
        )
    return patches


def error_patches() -> list[Patch]:
    """Legend entries of an error map."""
    return [_patch("correct", CORRECT_COLOR), _patch("wrong", WRONG_COLOR)]


def legend_columns(patches: Sequence[Patch], width: float) -> int:
    """How many columns of a legend fit into `width` inches, at a font size of 9."""
    entry = 0.5 + 0.064 * max(len(str(patch.get_label())) for patch in patches)
    return max(1, min(len(patches), int(width / entry)))


def _patch(name: str, color: Color) -> Patch:
    red, green, blue = np.divide(color, 255)
    return Patch(facecolor=(red, green, blue), edgecolor="#777777", label=name, linewidth=0.5)
