"""The output of a comparison with SAM: results.json, results.md, tables and figures."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hfseg.cards.redaction import redacted
from hfseg.config.data import DatasetArguments
from hfseg.config.evaluation import SamArguments
from hfseg.evaluation.report import RESULTS
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.table import TITLES, TRAINING_METRICS
from hfseg.sam.masks import SamMasks
from hfseg.visualization.sam_figures import (
    CLASS_AWARENESS,
    CLASS_NAMES,
    UNTRAINED,
    Row,
    boundary_changes,
    method_table,
    picture_of_masks,
    plot_sam_image,
)
from hfseg.visualization.tables import markdown_table

SCORES = {
    **{key: TITLES[key] for key in ("mean_iou", "mean_boundary_iou", "mean_boundary_f")},
    "mask_recall": "mask recall",
}
"""The metrics of every method, and their titles."""


@dataclass(frozen=True)
class Method:
    """A method, with the steps and networks it needs."""

    name: str
    title: str
    classes_from: str
    steps: tuple[str, ...]
    networks: tuple[str, ...]


METHODS = (
    Method("model", "the model", "model", ("predict",), ("model",)),
    Method(
        "oracle",
        "SAM oracle (upper bound)",
        "ground truth",
        ("embed", "everything", "oracle"),
        ("sam",),
    ),
    Method(
        "prompted",
        "SAM prompted by the model",
        "model",
        ("predict", "embed", "prompt"),
        ("model", "sam"),
    ),
    Method(
        "voted",
        "SAM masks, classes by vote",
        "model",
        ("predict", "embed", "everything", "vote"),
        ("model", "sam"),
    ),
)

SAM3_METHODS = (
    Method("sam3_instances", "SAM 3, instances", "class names", ("names",), ("sam3",)),
    Method("sam3_semantic", "SAM 3, semantic", "class names", ("names",), ("sam3",)),
)
"""With `--sam3`: no training, the classes come from their names."""


@dataclass
class Comparison:
    """The measurements.

    Attributes:
        methods: four, with SAM 3 two more.
        rows: one per method.
        scores: method -> its counts.
        names: sample index -> name of the image.
        num_masks: sample index -> number of all SAM masks.
    """

    methods: tuple[Method, ...]
    rows: list[Row]
    scores: dict[str, SplitScores]
    names: Sequence[str]
    num_masks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Seen:
    """One image segmented by all methods, for a figure.

    Attributes:
        name: name of the image.
        image: RGB.
        truth: (H, W) ground-truth ids.
        everything: all SAM masks.
        predictions: method -> (H, W) dataset ids.
    """

    index: int
    name: str
    image: Image.Image
    truth: np.ndarray
    everything: SamMasks
    predictions: dict[str, np.ndarray]


def results_of(
    options: SamArguments,
    data: DatasetArguments,
    found: Comparison,
    untrained: bool,
    figures: list[str],
) -> dict[str, Any]:
    """The content of results.json."""
    count = len(found.num_masks)
    return {
        "model": redacted(options.model_name_or_path),
        "sam": redacted(options.sam),
        "sam_is_untrained": untrained,
        "sam3": redacted(options.sam3) if options.sam3 else None,
        "dataset": redacted(str(data.dataset_name)),
        "split": options.split,
        "num_images": count,
        "image_size": data.image_size,
        "prompts": options.prompts,
        **options.everything,
        "dtype": options.dtype,
        "device": _device_name(),
        "masks_per_image": sum(found.num_masks.values()) / count,
        "methods": {
            method.name: {
                "name": row.name,
                "classes_from": row.classes_from,
                **row.scores,
                "seconds_per_image": row.seconds,
                "peak_memory_gib": row.peak_gib,
                "million_parameters": row.million_parameters,
                "per_category_iou": {
                    name: number_or_none(value)
                    for name, value in zip(
                        found.scores[method.name].labels.names,
                        found.scores[method.name].compute()["per_category_iou"],
                        strict=True,
                    )
                },
            }
            for method, row in zip(found.methods, found.rows, strict=True)
        },
        "figures": figures,
    }


def write_results(folder: Path, results: dict[str, Any], found: Comparison) -> None:
    """Write comparison.csv, images.csv, results.md and, last, results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, (name, row) in enumerate(results["methods"].items()):
            values = {key: value for key, value in row.items() if key != "per_category_iou"}
            if number == 0:
                writer.writerow(["method", *values, "sam_is_untrained"])
            writer.writerow([name, *values.values(), results["sam_is_untrained"]])
    per_image = {name: scores.image_scores() for name, scores in found.scores.items()}
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "masks", *(f"mean_iou_{name}" for name in per_image)])
        for index, count in sorted(found.num_masks.items()):
            scored = [f"{scores[index]:.6f}" for scores in per_image.values()]
            writer.writerow([found.names[index], count, *scored])
    (folder / "results.md").write_text(_markdown(results, found), encoding="utf-8")
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")


def _markdown(results: dict[str, Any], found: Comparison) -> str:
    lines = [
        f"# {results['model']} and {results['sam']} on {results['dataset']}, {results['split']}",
        "",
    ]
    if results["sam_is_untrained"]:
        lines += [f"**{UNTRAINED}**", ""]
    lines += [
        markdown_table(method_table(found.rows, SCORES), text_columns=2),
        "",
        *(f"{sentence}.  " for sentence in boundary_changes(found.rows)),
        "",
        CLASS_AWARENESS,
        *([CLASS_NAMES] if results["sam3"] else []),
        "",
        f"{results['num_images']} images, scored at the label's own size. SAM: "
        f"{results['points_per_side']} x {results['points_per_side']} points, predicted IoU above "
        f"{results['pred_iou_thresh']}, stability above {results['stability_score_thresh']}, "
        f"{results['masks_per_image']:.1f} masks per image; prompts: {results['prompts']}. Time "
        f"and memory on {results['device']}, {results['dtype']}, one image at a time, with both "
        "models loaded.",
    ]
    for path in results["figures"]:
        lines += [
            "",
            f"![photo, ground truth, SAM's masks; four predictions and their errors]({path})",
        ]
    return "\n".join(lines) + "\n"


def draw_image(seen: Seen, labels: LabelSet, path: Path, note: str) -> None:
    """Draw the figure of one image, with its score per method."""
    shown = []
    for method in (*METHODS, *SAM3_METHODS):
        if method.name not in seen.predictions:
            continue
        scores = SplitScores(labels, TRAINING_METRICS)
        prediction = torch.from_numpy(seen.predictions[method.name].astype(np.int64))
        scores.add(0, prediction, torch.from_numpy(seen.truth.astype(np.int64)))
        value = scores.image_scores()[0]
        score = "" if math.isnan(value) else f", mIoU {value:.2f}"
        shown.append((method.title + score, seen.predictions[method.name]))
    plot_sam_image(
        seen.image,
        seen.truth,
        picture_of_masks(seen.image, seen.everything.masks),
        len(seen.everything),
        shown,
        labels,
        path,
        f"{seen.name}. {note}",
    )


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def number_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)
