"""The output of an evaluation: results.json, results.md, images.csv and figures."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hfseg.data.units import IMAGES, Units
from hfseg.metrics.calibration import CALIBRATION_ERROR, reliability
from hfseg.metrics.intervals import interval_text
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.table import METRICS, TITLES
from hfseg.visualization import tables
from hfseg.visualization.class_figures import plot_confusion, plot_per_class_iou
from hfseg.visualization.prediction_figures import PredictionRow, plot_predictions
from hfseg.visualization.reliability import plot_reliability

RESULTS = "results.json"
Results: TypeAlias = dict[str, Any]
"""The content of results.json."""
_PER_CLASS = {metric.class_name: metric.class_title for metric in METRICS if metric.class_name}


def results_of(scores: SplitScores, about: Results, units: Units = IMAGES) -> Results:
    """The content of results.json: `about` (model, data, protocol ...) and every score.

    Undefined values, such as the IoU of an absent class, are None.
    """
    values = scores.compute()
    return {
        **about,
        "num_images": len(scores),
        **{key: _number(values[key]) for key in TITLES},
        **scores.interval(units).as_results(),
        CALIBRATION_ERROR: _number(scores.calibration_error),
        "reliability": {key: row.tolist() for key, row in reliability(scores.calibration).items()},
        "absent_classes": scores.absent,
        "per_class": {
            name: {key: _number(values[f"per_category_{key}"][index]) for key in _PER_CLASS}
            for index, name in enumerate(scores.labels.names)
        },
        "confusion_matrix": scores.confusion.tolist(),
    }


def write_results(
    folder: Path, results: Results, scores: SplitScores, names: Sequence[str]
) -> None:
    """results.json, results.md, and images.csv with the worst image first.

    Args:
        names: of the images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mean_iou"])
        per_image = scores.image_scores()
        for index in worst_first(per_image):
            writer.writerow([names[index], f"{per_image[index]:.6f}"])
    (folder / "results.md").write_text(markdown(results), encoding="utf-8")
    # last: a folder with this file is complete
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")


def markdown(results: Results) -> str:
    """The results as Markdown with two tables."""
    lines = [
        f"# {results['model']} on {results['dataset']}, {results['split']}",
        "",
        f"{results['num_images']} images. {results['protocol']}",
        "",
        tables.markdown_table([["metric", "value"], *_summary(results)]),
        "",
        f"{interval_line(results)}.",
        "",
        f"{calibration_line(results)}.",
        "",
        tables.markdown_table([["class", *_PER_CLASS.values()], *_classes(results, _PER_CLASS)]),
    ]
    if results["absent_classes"]:
        lines += [
            "",
            "In neither labels nor predictions, so excluded from the mean IoU: "
            f"{', '.join(results['absent_classes'])}.",
        ]
    return "\n".join(lines) + "\n"


def interval_line(results: Results) -> str:
    """`95 % interval of the mean IoU: 0.7123 to 0.7401 (80 images ...)`, or why there is none."""
    return f"95 % interval of the mean IoU: {interval_text(results, 'mean_iou')}"


def calibration_line(results: Results) -> str:
    """`Expected calibration error: 0.0312 (temperature 1.420)`."""
    line = f"Expected calibration error: {_cell(results[CALIBRATION_ERROR])}"
    if (temperature := results.get("temperature", 1.0)) == 1:
        return line
    before = results.get(f"{CALIBRATION_ERROR}_before")
    return f"{line} (temperature {temperature:.3f}" + (
        ")" if before is None else f", before it was fitted here {before:.4f})"
    )


def write_figures(
    folder: Path, results: Results, scores: SplitScores, rows: list[PredictionRow]
) -> None:
    """Draw per_class_iou.png, confusion_matrix.png, reliability.png, and worst.png from `rows`."""
    labels = scores.labels
    ious = [row["iou"] for row in results["per_class"].values()]
    plot_per_class_iou(
        labels.names,
        [math.nan if iou is None else iou for iou in ious],
        labels.palette,
        folder / "per_class_iou.png",
        mean_iou=results["mean_iou"],
    )
    names, confusion = list(labels.names), scores.confusion
    if confusion[:, -1].any():
        confusion = np.vstack([confusion, np.zeros_like(confusion[:1])])
        names.append("(other)")
    else:
        confusion = confusion[:, :-1]
    plot_confusion(confusion, names, folder / "confusion_matrix.png")
    if results[CALIBRATION_ERROR] is not None:
        plot_reliability(
            {calibration_line(results): results["reliability"]}, folder / "reliability.png"
        )
    if rows:
        plot_predictions(rows, labels, folder / "worst.png", errors=True)


def worst_first(per_image: dict[int, float]) -> list[int]:
    """Sample indices by ascending score; images without labeled pixels come last."""
    return sorted(per_image, key=lambda i: (math.isnan(per_image[i]), per_image[i], i))


def terminal_table(results: Results) -> str:
    """IoU and Boundary IoU per class, and the means, for the terminal."""
    summary = [[name, value, ""] for name, value in _summary(results)]
    classes = _classes(results, ("iou", "boundary_iou"))
    rows = [["class", "IoU", "boundary"], *classes, *summary]
    return tables.terminal_table(rows, summary_rows=len(summary))


def _summary(results: Results) -> list[list[str]]:
    return [[name, _cell(results[key])] for key, name in TITLES.items()]


def _classes(results: Results, keys: Iterable[str]) -> list[list[str]]:
    return [
        [name, *(_cell(row[key]) for key in keys)] for name, row in results["per_class"].items()
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _cell(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4f}"
