"""What a comparison with SAM leaves: results.json, the page, tables and figures."""

import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import SamArguments
from hfseg.evaluation.report import RESULTS
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.table import TITLES, TRAINING_METRICS
from hfseg.sam.masks import SamMasks
from hfseg.visualization.sam_figures import (
    CLASS_AWARENESS,
    PLUMBING,
    Row,
    boundary_changes,
    markdown_table,
    picture_of_masks,
    plot_sam_image,
)

SCORES = {
    **{key: TITLES[key] for key in ("mean_iou", "mean_boundary_iou", "mean_boundary_f")},
    "mask_recall": "mask recall",
}
"""What is measured of every way, and what it is called."""


@dataclass(frozen=True)
class Way:
    """One of the four ways, and which steps and networks it needs."""

    name: str
    title: str
    classes_from: str
    steps: tuple[str, ...]
    networks: tuple[str, ...]


WAYS = (
    Way("model", "the model", "model", ("predict",), ("model",)),
    Way(
        "oracle",
        "SAM oracle (upper bound)",
        "truth",
        ("embed", "everything", "oracle"),
        ("sam",),
    ),
    Way(
        "prompted",
        "SAM prompted by the model",
        "model",
        ("predict", "embed", "prompt"),
        ("model", "sam"),
    ),
    Way(
        "voted",
        "SAM's masks, the model votes",
        "model",
        ("predict", "embed", "everything", "vote"),
        ("model", "sam"),
    ),
)


@dataclass
class Comparison:
    """What was measured.

    Attributes:
        rows: the four ways.
        scores: way -> its counts.
        num_masks: sample index -> how many masks SAM has of everything.
    """

    rows: list[Row]
    scores: dict[str, SplitScores]
    num_masks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Seen:
    """One image in all ways, for a figure.

    Attributes:
        image: RGB.
        truth: (H, W) true ids.
        everything: SAM's masks.
        predictions: way -> (H, W) ids of the data set.
    """

    index: int
    image: Image.Image
    truth: np.ndarray
    everything: SamMasks
    predictions: dict[str, np.ndarray]


def results_of(
    wanted: SamArguments,
    data: DataArguments,
    found: Comparison,
    untrained: bool,
    figures: list[str],
) -> dict[str, Any]:
    """What results.json holds."""
    from hfseg.cards.redaction import redacted

    count = len(found.num_masks)
    return {
        "model": redacted(wanted.model_name_or_path),
        "sam": redacted(wanted.sam),
        "sam_is_untrained": untrained,
        "dataset": redacted(str(data.dataset_name)),
        "split": wanted.split,
        "num_images": count,
        "image_size": data.image_size,
        "prompts": wanted.prompts,
        **wanted.everything,
        "dtype": wanted.dtype,
        "device": _device_name(),
        "masks_per_image": sum(found.num_masks.values()) / count,
        "ways": {
            way.name: {
                "name": row.name,
                "classes_from": row.classes_from,
                **row.scores,
                "seconds_per_image": row.seconds,
                "peak_memory_gib": row.peak_gib,
                "million_parameters": row.million_parameters,
                "per_category_iou": {
                    name: number_or_none(value)
                    for name, value in zip(
                        found.scores[way.name].labels.names,
                        found.scores[way.name].compute()["per_category_iou"],
                        strict=True,
                    )
                },
            }
            for way, row in zip(WAYS, found.rows, strict=True)
        },
        "figures": figures,
    }


def write_results(folder: Path, results: dict[str, Any], found: Comparison) -> None:
    """comparison.csv, images.csv, results.md and, when all is there, results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, (name, way) in enumerate(results["ways"].items()):
            values = {key: value for key, value in way.items() if key != "per_category_iou"}
            if number == 0:
                writer.writerow(["way", *values, "sam_is_untrained"])
            writer.writerow([name, *values.values(), results["sam_is_untrained"]])
    per_image = {name: scores.image_scores() for name, scores in found.scores.items()}
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "masks", *(f"mean_iou_{name}" for name in per_image)])
        for index, count in sorted(found.num_masks.items()):
            values = [f"{scores[index]:.6f}" for scores in per_image.values()]
            writer.writerow([index, count, *values])
    (folder / "results.md").write_text(_markdown(results, found), encoding="utf-8")
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")


def _markdown(results: dict[str, Any], found: Comparison) -> str:
    lines = [
        f"# {results['model']} beside {results['sam']} on {results['dataset']}, {results['split']}",
        "",
    ]
    if results["sam_is_untrained"]:
        lines += [f"**{PLUMBING}**", ""]
    lines += [
        markdown_table(found.rows, SCORES),
        "",
        *(f"{sentence}.  " for sentence in boundary_changes(found.rows)),
        "",
        CLASS_AWARENESS,
        "",
        f"{results['num_images']} images, scored at the label's own size. SAM: "
        f"{results['points_per_side']} x {results['points_per_side']} points, predicted IoU above "
        f"{results['pred_iou_thresh']}, stability above {results['stability_score_thresh']}, "
        f"{results['masks_per_image']:.1f} masks an image; prompts: {results['prompts']}. Seconds "
        f"and memory on {results['device']}, {results['dtype']}; one image at a time, both models "
        "loaded all the time.",
    ]
    for path in results["figures"]:
        lines += ["", f"![photo, truth, SAM's masks, the four ways and their errors]({path})"]
    return "\n".join(lines) + "\n"


def draw_image(seen: Seen, labels: LabelSet, path: Path, note: str) -> None:
    """The figure of one image, with the score of each way on it."""
    shown = []
    for way in WAYS:
        scores = SplitScores(labels, TRAINING_METRICS)
        prediction = torch.from_numpy(seen.predictions[way.name].astype(np.int64))
        scores.add(0, prediction, torch.from_numpy(seen.truth.astype(np.int64)))
        value = scores.image_scores()[0]
        said = "" if math.isnan(value) else f", mIoU {value:.2f}"
        shown.append((way.title + said, seen.predictions[way.name]))
    plot_sam_image(
        seen.image,
        seen.truth,
        picture_of_masks(seen.image, seen.everything.masks),
        len(seen.everything),
        shown,
        labels,
        path,
        f"image {seen.index}. {note}",
    )


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def number_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)
