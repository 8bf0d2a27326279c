"""The figures of a run: curves, IoU per class, confusion matrix, predictions.

Each function draws its own `Figure` (no pyplot, so no global state and no display), saves it and
returns it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import Color, LabelSet
from hfseg.visualization.overlay import (
    CORRECT_COLOR,
    IGNORED_NAME,
    WRONG_COLOR,
    color_mask,
    error_map,
    hatch,
)

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
}
_TRAIN, _EVAL, _RATE = "#0072b2", "#d55e00", "#999999"
_DPI = 150
LEGEND_LINE = 0.196  # inches, at a font size of 9


def plot_curves(log_history: Sequence[dict[str, Any]], path: str | Path) -> Figure:
    """Losses and learning rate (left), and mean IoU with its best value (right).

    Args:
        log_history: `trainer.state.log_history`. If a step has several evaluations, the first is
            drawn: a later one belongs to the best checkpoint, reloaded at the end.
        path: of the PNG.
    """
    train = _series(log_history, "loss")
    rate = _series(log_history, "learning_rate")
    eval_loss = _series(log_history, "eval_loss")
    score = _series(log_history, "eval_mean_iou")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        loss_axes, score_axes = figure.subplots(1, 2)
        _line(loss_axes, train, _TRAIN, "training")
        _line(loss_axes, eval_loss, _EVAL, "validation", marker="o")
        loss_axes.set_title("loss")
        if rate:
            rate_axes = loss_axes.twinx()
            _line(rate_axes, rate, _RATE, "learning rate", linewidth=0.8, linestyle="--")
            rate_axes.set_ylim(bottom=0)
            rate_axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
            rate_axes.tick_params(axis="y", colors=_RATE, labelsize=8)
            rate_axes.spines["right"].set_visible(False)
            rate_axes.set_zorder(0)
            loss_axes.set_zorder(1)
            loss_axes.patch.set_visible(False)
            loss_axes.plot(
                [], [], color=_RATE, linewidth=0.8, linestyle="--", label="learning rate"
            )
        _line(score_axes, score, _EVAL, "validation", marker="o")
        score_axes.set_title("mean IoU")
        finite = {step: value for step, value in score.items() if math.isfinite(value)}
        if finite:
            best = max(finite, key=lambda step: finite[step])
            score_axes.plot([best], [finite[best]], "*", color="black", markersize=11, zorder=5)
            low, high = min(finite.values()), max(finite.values())
            room = max(high - low, 0.02)
            score_axes.set_ylim(max(0, low - 0.1 * room), min(1.02, high + 0.25 * room))
            late = best > sum(score_axes.get_xlim()) / 2
            score_axes.annotate(
                f"best {finite[best]:.4f} at step {best}",
                (best, finite[best]),
                xytext=(4 if late else -4, 8),
                textcoords="offset points",
                ha="right" if late else "left",
                va="bottom",
            )
        for axes, has_values in ((loss_axes, train or eval_loss), (score_axes, score)):
            axes.grid(True)
            axes.set_xlabel(_step_label(log_history))
            if not has_values:
                axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center")
                axes.set_xticks([])
                axes.set_yticks([])
        if train or eval_loss:
            loss_axes.legend(loc="upper right")
        return saved(figure, path)


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
    with matplotlib.rc_context(STYLE):
        width = 6.4 if columns == 1 else 3.4 * columns
        figure = Figure(figsize=(width, 0.2 * rows + 1.0), layout="constrained")
        for column, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
            shown = order[column * rows : (column + 1) * rows]
            values = [0.0 if math.isnan(ious[i]) else ious[i] for i in shown]
            axes.barh(
                range(len(shown)),
                values,
                height=0.72,
                color=[np.divide(palette[i], 255) for i in shown],
                edgecolor="#777777",
                linewidth=0.5,
            )
            for row, i in enumerate(shown):
                absent = math.isnan(ious[i])
                axes.text(
                    values[row] + 0.012,
                    row,
                    "absent" if absent else f"{ious[i]:.2f}",
                    va="center",
                    fontsize=8,
                    style="italic" if absent else "normal",
                    color="#888888" if absent else "#222222",
                    # the line of the mean passes behind the numbers
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                )
            axes.set_yticks(range(len(shown)), [_short(names[i]) for i in shown])
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
        return saved(figure, path)


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
            f"the confusion matrix has shape {confusion.shape}, but there are {len(names)} classes"
        )
    shown = np.arange(len(names))
    if len(names) > 12:
        shown = np.flatnonzero(confusion.sum(0) + confusion.sum(1))
    totals = confusion.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        percent = (100 * confusion / totals)[np.ix_(shown, shown)]  # NaN: not in the ground truth
    count = len(shown)
    annotated = count <= 12
    with matplotlib.rc_context(STYLE):
        cell = 0.55 if annotated else 0.3 if count <= 40 else 0.115
        side = max(2.2, cell * count)
        figure = Figure(figsize=(side + 2.6, side + 1.7), layout="constrained")
        axes = figure.subplots()
        colors = matplotlib.colormaps["Blues"].with_extremes(bad="#eeeeee")
        # square root, so that a confusion of 5 % is still visible
        scale = PowerNorm(0.5, vmin=0, vmax=100)
        matrix = axes.imshow(np.ma.masked_invalid(percent), cmap=colors, norm=scale)
        size = 9 if annotated else 8 if count <= 40 else 6
        labels = [_short(names[i]) for i in shown]
        axes.set_xticks(range(count), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(count), labels, fontsize=size)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("ground truth")
        if annotated:
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
        remarks = [f"{count} of {len(names)} classes occur"] if count < len(names) else []
        remarks += ["gray: not in the ground truth"] if np.isnan(percent).any() else []
        axes.set_title("; ".join(remarks))
        shrink = min(0.8, 4 / side)
        bar = figure.colorbar(
            matrix, ax=axes, shrink=shrink, fraction=0.25 / side, aspect=20, pad=0.2 / side
        )
        bar.set_label("% of the ground-truth pixels of the class")
        bar.outline.set_visible(False)
        return saved(figure, path)


def plot_predictions(
    rows: Sequence[dict[str, Any]], labels: LabelSet, path: str | Path, errors: bool = False
) -> Figure:
    """Rows of image | ground truth | prediction, with a legend of their classes below.

    Args:
        rows: dicts with `image` (PIL or (h, w, 3) uint8), `truth` and `prediction` ((H, W) class
            ids; ids without a class are hatched) and `caption` (above the row).
        labels: names and colors.
        path: of the PNG.
        errors: add a fourth column with the errors in red.

    Raises:
        UserError: `rows` is empty.
    """
    if not rows:
        raise UserError("there are no predictions to draw: give at least one row")
    panel, gap, margin = 3.0, 0.06, 0.08  # inches
    caption_height, heading_height = 0.3, 0.26
    heights = [
        min(panel * np.shape(r["truth"])[0] / np.shape(r["truth"])[1], 1.3 * panel) for r in rows
    ]

    patches = class_patches([row[key] for row in rows for key in _MASKS], labels)
    patches += error_patches() if errors else []
    headings = ("image", "ground truth", "prediction", "errors")[: 3 + errors]
    width = len(headings) * (panel + gap) - gap + 2 * margin
    columns = legend_columns(patches, width - 2 * margin)
    legend_height = LEGEND_LINE * -(-len(patches) // columns) + 0.2
    height = heading_height + sum(heights) + caption_height * len(rows) + legend_height

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        lefts = [margin + column * (panel + gap) for column in range(len(headings))]
        for left, heading in zip(lefts, headings, strict=True):
            figure.text(
                (left + panel / 2) / width,
                1 - 0.6 * heading_height / height,
                heading,
                ha="center",
                va="center",
                weight="bold",
            )
        top = height - heading_height
        for row, row_height in zip(rows, heights, strict=True):
            figure.text(
                margin / width,
                (top - 0.6 * caption_height) / height,
                row["caption"],
                va="center",
                color="#444444",
            )
            top -= caption_height + row_height
            panels = _panels(row, labels, panel, row_height, errors)
            for left, pixels in zip(lefts, panels, strict=True):
                box = (left / width, top / height, panel / width, row_height / height)
                axes = figure.add_axes(box)
                axes.imshow(pixels, interpolation="none")
                axes.axis("off")
        figure.legend(
            handles=patches,
            loc="lower left",
            bbox_to_anchor=(margin / width, 0.04 / height),
            ncols=columns,
            borderaxespad=0,
            borderpad=0,
            handlelength=1.1,
            handleheight=1.1,
            handletextpad=0.5,
            columnspacing=1.2,
        )
        return saved(figure, path)


_MASKS = ("truth", "prediction")


def _panels(
    row: dict[str, Any], labels: LabelSet, panel: float, row_height: float, errors: bool
) -> list[np.ndarray]:
    """The panels of a row at their printed size, so that the hatching looks the same in all."""
    height, width = np.shape(row["truth"])
    scale = _DPI * min(panel / width, row_height / height)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    image = row["image"]
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.asarray(image))
    panels = [np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))]
    masks = []
    for key in _MASKS:
        ids = Image.fromarray(np.asarray(row[key], dtype=np.uint8))
        mask = np.asarray(ids.resize(size, Image.Resampling.NEAREST))
        masks.append(mask)
        panels.append(hatch(np.asarray(color_mask(mask, labels)), mask >= len(labels)))
    if errors:
        truth, prediction = masks
        panels.append(np.asarray(error_map(prediction, truth, labels)))
    return panels


def class_patches(masks: Sequence[np.ndarray], labels: LabelSet) -> list[Patch]:
    """Legend entries of the classes that occur in `masks`, and of pixels without a class."""
    occurring = np.unique(np.concatenate([np.unique(mask) for mask in masks])).tolist()
    patches = [
        _patch(_short(labels.names[index]), labels.palette[index])
        for index in occurring
        if index < len(labels)
    ]
    if occurring[-1] >= len(labels):
        hatched = {"facecolor": "#181818", "edgecolor": "#8a8a8a", "hatch": "/////"}
        patches.append(Patch(label=IGNORED_NAME, linewidth=0.5, **hatched))
    return patches


def error_patches() -> list[Patch]:
    """Legend entries of an error map."""
    return [_patch("correct", CORRECT_COLOR), _patch("wrong", WRONG_COLOR)]


def legend_columns(patches: Sequence[Patch], width: float) -> int:
    """How many columns of a legend fit into `width` inches, at a font size of 9."""
    entry = 0.5 + 0.064 * max(len(str(patch.get_label())) for patch in patches)
    return max(1, min(len(patches), int(width / entry)))


def _patch(name: str, color: Color) -> Patch:
    return Patch(facecolor=np.divide(color, 255), edgecolor="#777777", label=name, linewidth=0.5)


def _series(log_history: Sequence[dict[str, Any]], key: str) -> dict[int, float]:
    values: dict[int, float] = {}
    for entry in log_history:
        if entry.get(key) is not None:
            values.setdefault(int(entry["step"]), float(entry[key]))
    return dict(sorted(values.items()))


def _line(axes: Any, values: dict[int, float], color: str, label: str, **style: Any) -> None:
    if values:
        marker = "o" if len(values) <= 5 else None  # a single point draws no line
        style = {"linewidth": 1.5, "markersize": 3.5, "marker": marker, **style}
        axes.plot(list(values), list(values.values()), color=color, label=label, **style)


def _step_label(log_history: Sequence[dict[str, Any]]) -> str:
    last = max(log_history, key=lambda entry: entry.get("step", 0), default={})
    if not last.get("epoch"):
        return "step"
    return f"step (one epoch = {last['step'] / last['epoch']:.4g} steps)"


def _short(name: str, length: int = 24) -> str:
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def saved(figure: Figure, path: str | Path) -> Figure:
    """Write a figure as PNG, and return it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
    return figure
