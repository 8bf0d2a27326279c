"""Predictions beside their images and ground truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.visualization.figure_style import DPI, save, style
from hfseg.visualization.legends import LEGEND_LINE, class_patches, error_patches, legend_columns
from hfseg.visualization.panels import Panels, add_panel, panel_height

_PANEL, _GAP, _MARGIN = 3.0, 0.06, 0.08  # inches
_CAPTION, _HEADING = 0.3, 0.26


class PredictionRow(TypedDict):
    """One image of `plot_predictions`: RGB or (H, W, 3) uint8, two (H, W) masks of class ids
    (those without a class are hatched), and the text above them."""

    image: Image.Image | np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    caption: str


def plot_predictions(
    rows: Sequence[PredictionRow], labels: LabelSet, path: str | Path, errors: bool = False
) -> Figure:
    """Rows of image | ground truth | prediction, with a legend of their classes below.

    Args:
        rows: from top to bottom.
        labels: names and colors.
        path: of the PNG.
        errors: add a fourth column with the errors in red.

    Raises:
        UserError: `rows` is empty.
    """
    if not rows:
        raise UserError("there are no predictions to draw: give at least one row")
    heights = [panel_height(row["truth"], _PANEL) for row in rows]
    patches = class_patches(
        [mask for row in rows for mask in (row["truth"], row["prediction"])], labels
    )
    patches += error_patches() if errors else []
    headings = ("image", "ground truth", "prediction", "errors")[: 3 + errors]
    width = len(headings) * (_PANEL + _GAP) - _GAP + 2 * _MARGIN
    columns = legend_columns(patches, width - 2 * _MARGIN)
    legend_height = LEGEND_LINE * -(-len(patches) // columns) + 0.2
    height = _HEADING + sum(heights) + _CAPTION * len(rows) + legend_height

    with style():
        figure = Figure(figsize=(width, height))
        lefts = [_MARGIN + column * (_PANEL + _GAP) for column in range(len(headings))]
        for left, heading in zip(lefts, headings, strict=True):
            x, y = (left + _PANEL / 2) / width, 1 - 0.6 * _HEADING / height
            figure.text(x, y, heading, ha="center", va="center", weight="bold")
        top = height - _HEADING
        for row, row_height in zip(rows, heights, strict=True):
            x, y = _MARGIN / width, (top - 0.6 * _CAPTION) / height
            figure.text(x, y, row["caption"], va="center", color="#444444")
            top -= _CAPTION + row_height
            for left, pixels in zip(lefts, _panels(row, labels, errors), strict=True):
                add_panel(figure, pixels, left, top, _PANEL, row_height)
        figure.legend(
            handles=patches,
            loc="lower left",
            bbox_to_anchor=(_MARGIN / width, 0.04 / height),
            ncols=columns,
            borderaxespad=0,
            borderpad=0,
            handlelength=1.1,
            handleheight=1.1,
            handletextpad=0.5,
            columnspacing=1.2,
        )
        return save(figure, path)


def _panels(row: PredictionRow, labels: LabelSet, errors: bool) -> list[np.ndarray]:
    truth, prediction = row["truth"], row["prediction"]
    draw = Panels.fitting(truth, _PANEL, DPI, labels)
    panels = [draw.photo(row["image"]), draw.classes(truth), draw.classes(prediction)]
    return [*panels, draw.errors(prediction, truth)] if errors else panels
