"""Comparison of several runs: one table and one figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import matplotlib
import numpy as np
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from hfseg.labels import LabelSet
from hfseg.visualization.figure_style import DPI
from hfseg.visualization.legends import LEGEND_LINE, class_patches, legend_columns
from hfseg.visualization.panels import hatched_classes, panel_height
from hfseg.visualization.tables import markdown_table

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5a5a5a")
_PANEL = 2.6  # inches


@dataclass(frozen=True)
class RunResult:
    """The values of a run that are compared.

    Attributes:
        name: of the run.
        scores: `eval_results.json`: 0-1, None for an absent class.
        million_parameters: of the complete model.
        training_seconds: `train_runtime`.
        peak_gib: peak memory in training, None if it was not recorded.
        milliseconds: median time to segment an image.
    """

    name: str
    scores: dict[str, float | None]
    million_parameters: float
    training_seconds: float
    peak_gib: float | None
    milliseconds: float


class ComparedImage(TypedDict):
    """An image, its (H, W) ground truth, and the (H, W) class ids that each run predicts."""

    image: Image.Image
    truth: np.ndarray
    predictions: list[np.ndarray]


def comparison_table(
    results: Sequence[RunResult], labels: LabelSet, titles: Mapping[str, str]
) -> str:
    """Markdown with one column per run: quality, cost, and the IoU per class in percent.

    Args:
        titles: metric -> its title.
    """
    rows: list[tuple[str, list[str]]] = [
        (f"{title} (%)", [_percent(result.scores.get(f"eval_{name}")) for result in results])
        for name, title in titles.items()
    ]
    rows += [
        ("parameters (million)", [f"{r.million_parameters:.2f}" for r in results]),
        ("training (s)", [f"{r.training_seconds:.0f}" for r in results]),
        ("peak memory (GiB)", ["" if r.peak_gib is None else f"{r.peak_gib:.2f}" for r in results]),
        ("prediction (ms/image)", [f"{r.milliseconds:.0f}" for r in results]),
    ]
    rows += [
        (f"IoU {name} (%)", [_percent(result.scores.get(f"eval_iou_{key}")) for result in results])
        for name, key in zip(labels.names, labels.metric_names, strict=True)
    ]
    heading = ("metric", [result.name for result in results])
    return markdown_table([[title, *cells] for title, cells in (heading, *rows)]) + "\n"


def _percent(value: float | None) -> str:
    return "absent" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def plot_comparison(
    results: Sequence[RunResult],
    labels: LabelSet,
    images: Sequence[ComparedImage],
    path: str | Path,
) -> Figure:
    """IoU per class as grouped bars; below, the predictions of each run on the same images.

    Args:
        results: one per run.
        labels: names and colors.
        images: what is shown, with one prediction per run.
        path: of the PNG.
    """
    columns = len(results) + 2
    heights = [panel_height(shown["truth"], _PANEL) + 0.1 for shown in images]
    masks = [mask for shown in images for mask in (shown["truth"], *shown["predictions"])]
    patches = class_patches(masks, labels)
    width = max(_PANEL * columns, 8)
    ncols = legend_columns(patches, 0.98 * width)
    legend = LEGEND_LINE * -(-len(patches) // ncols) + 0.1
    bars, predictions = 3.0, 0.4 + sum(heights)
    figure = Figure(figsize=(width, bars + predictions + legend))
    parts = figure.subfigures(3, 1, height_ratios=[bars, predictions, legend], squeeze=False)
    top, below, foot = parts[:, 0]
    with matplotlib.rc_context({"font.size": 8, "hatch.linewidth": 0.8, "text.parse_math": False}):
        _bars(top, results, labels)
        rows = below.subplots(
            len(images), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        below.subplots_adjust(
            left=0.01, right=0.99, bottom=0.01, top=0.93, wspace=0.03, hspace=0.05
        )
        for row, shown in zip(rows, images, strict=True):
            panels = [_thumbnail(shown["image"])]
            for mask in (shown["truth"], *shown["predictions"]):
                ids = _thumbnail(Image.fromarray(np.asarray(mask, dtype=np.uint8)))
                panels.append(hatched_classes(ids, labels))
            for axes, pixels in zip(row, panels, strict=True):
                axes.imshow(pixels)
                axes.axis("off")
        names = ["image", "ground truth", *(result.name for result in results)]
        for axes, name in zip(rows[0], names, strict=True):
            axes.set_title(name, fontsize=8)
        foot.legend(handles=patches, loc="center", ncols=ncols, frameon=False)
        figure.savefig(path, dpi=DPI)
    return figure


def _bars(figure: SubFigure, results: Sequence[RunResult], labels: LabelSet) -> None:
    axes = figure.subplots()
    figure.subplots_adjust(
        left=0.06, right=0.99, bottom=0.4 if len(labels) > 12 else 0.16, top=0.84
    )
    width = 0.84 / len(results)
    for number, result in enumerate(results):
        values = [result.scores.get(f"eval_iou_{key}") for key in labels.metric_names]
        mean = _percent(result.scores.get("eval_mean_iou"))
        axes.bar(
            [index + (number - (len(results) - 1) / 2) * width for index in range(len(values))],
            [0 if value is None else 100 * value for value in values],
            width,
            color=_COLORS[number % len(_COLORS)],
            label=f"{result.name}, mean {mean} %",
        )
    axes.set_xticks(range(len(labels)), labels.names, rotation=90 if len(labels) > 12 else 30)
    axes.set_ylabel("IoU (%)")
    axes.set_ylim(0, 100)
    axes.grid(True, axis="y", color="#e4e4e4")
    axes.set_axisbelow(True)
    figure.legend(loc="upper center", ncols=min(len(results), 3), frameon=False)


def _thumbnail(image: Image.Image) -> np.ndarray:
    small = image.copy()
    small.thumbnail((640, 640), Image.Resampling.NEAREST)
    return np.asarray(small)
