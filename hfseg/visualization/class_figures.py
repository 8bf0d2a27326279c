"""Figures of the scores per class: IoU bars and the confusion matrix."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from hfseg.errors import UserError
from hfseg.labels import Color
from hfseg.visualization.figure_style import save, shortened, style


def plot_per_class_iou(
    names: Sequence[str],
    ious: Sequence[float],
    palette: Sequence[Color],
    path: str | Path,
    mean_iou: float | None = None,
) -> Figure:
    """One bar per class in its color, best first; more than 30 classes fill several columns.

    Args:
        names: class names in id order.
        ious: IoU in id order, 0-1; NaN marks an absent class, which is labeled so and comes last.
        palette: RGB triples in id order.
        path: of the PNG.
        mean_iou: drawn as a dashed line.

    Raises:
        UserError: names, IoUs and palette differ in length.
    """
    if not len(names) == len(ious) == len(palette):
        raise UserError(
            f"{len(names)} class names, {len(ious)} IoU values and {len(palette)} colors: "
            "give one of each per class"
        )
    order = sorted(range(len(names)), key=lambda i: (math.isnan(ious[i]), -ious[i], i))
    columns = 1 if len(order) <= 30 else 2 if len(order) <= 60 else 3
    rows = -(-len(order) // columns)
    with style():
        width = 6.4 if columns == 1 else 3.4 * columns
        figure = Figure(figsize=(width, 0.2 * rows + 1.0), layout="constrained")
        for column, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
            shown = order[column * rows : (column + 1) * rows]
            _draw_bars(axes, [ious[i] for i in shown], [palette[i] for i in shown])
            axes.set_yticks(range(len(shown)), [shortened(names[i]) for i in shown])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(rows - 0.4, -0.6)
            axes.set_xlim(0, 1.1)
            axes.set_xticks(np.linspace(0, 1, 6))
            axes.grid(True, axis="x")
            axes.set_xlabel("IoU")
            if mean_iou is not None and math.isfinite(mean_iou):
                axes.axvline(mean_iou, color="black", linewidth=1, linestyle="--", zorder=0.9)
                if column == 0:
                    axes.set_title(f"mean IoU {mean_iou:.4f} (dashed)")
        return save(figure, path)


def _draw_bars(axes: Axes, ious: Sequence[float], colors: Sequence[Color]) -> None:
    values = [0.0 if math.isnan(iou) else iou for iou in ious]
    axes.barh(
        range(len(values)),
        values,
        height=0.72,
        color=[np.divide(color, 255) for color in colors],
        edgecolor="#777777",
        linewidth=0.5,
    )
    for row, iou in enumerate(ious):
        absent = math.isnan(iou)
        axes.text(
            values[row] + 0.012,
            row,
            "absent" if absent else f"{iou:.2f}",
            va="center",
            fontsize=8,
            style="italic" if absent else "normal",
            color="#888888" if absent else "#222222",
            # the line of the mean passes behind the numbers
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )


def plot_confusion(confusion: np.ndarray, names: Sequence[str], path: str | Path) -> Figure:
    """The confusion matrix, with each row (ground-truth class) in percent.

    With more than 12 classes only those that occur are drawn, without numbers.

    Args:
        confusion: (K, K) int64 pixel counts, rows ground truth, columns prediction.
        names: class names in id order.
        path: of the PNG.

    Raises:
        UserError: the matrix is not (K, K) for K names.
    """
    confusion = np.asarray(confusion)
    if confusion.shape != (len(names), len(names)):
        raise UserError(
            f"the confusion matrix has shape {confusion.shape}, but there are {len(names)} class "
            "names: give one per row"
        )
    shown = list(range(len(names)))
    if len(names) > 12:
        shown = np.flatnonzero(confusion.sum(0) + confusion.sum(1)).tolist()
    totals = confusion.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        percent = (100 * confusion / totals)[np.ix_(shown, shown)]  # NaN: not in the ground truth
    count = len(shown)
    with style():
        cell = 0.55 if count <= 12 else 0.3 if count <= 40 else 0.115
        side = max(2.2, cell * count)
        figure = Figure(figsize=(side + 2.6, side + 1.7), layout="constrained")
        axes = figure.subplots()
        colors = matplotlib.colormaps["Blues"].with_extremes(bad="#eeeeee")
        # square root, so that a confusion of 5 % is still visible
        scale = PowerNorm(0.5, vmin=0, vmax=100)
        matrix = axes.imshow(np.ma.masked_invalid(percent), cmap=colors, norm=scale)
        _label_matrix(axes, percent, [shortened(names[i]) for i in shown])
        remarks = [f"{count} of {len(names)} classes occur"] if count < len(names) else []
        remarks += ["gray: not in the ground truth"] if np.isnan(percent).any() else []
        axes.set_title("; ".join(remarks))
        shrink = min(0.8, 4 / side)
        bar = figure.colorbar(
            matrix, ax=axes, shrink=shrink, fraction=0.25 / side, aspect=20, pad=0.2 / side
        )
        bar.set_label("% of the ground-truth pixels of the class")
        bar.outline.set_visible(False)
        return save(figure, path)


def _label_matrix(axes: Axes, percent: np.ndarray, names: list[str]) -> None:
    """Names on both axes, and up to 12 classes also the percentages."""
    count = len(names)
    size = 9 if count <= 12 else 8 if count <= 40 else 6
    axes.set_xticks(range(count), names, rotation=90, fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("ground truth")
    if count <= 12:
        for row, column in np.argwhere(percent >= 0.5):
            value = percent[row, column]
            axes.text(
                column,
                row,
                f"{value:.0f}",
                ha="center",
                va="center",
                color="white" if value > 35 else "#222222",
            )
