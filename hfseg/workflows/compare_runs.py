"""Compares runs: runs recipes, reads finished runs, and measures all in the same way."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
from PIL import Image
from transformers import AutoConfig

from hfseg.config.data import DatasetArguments
from hfseg.config.resolve import Arguments, resolve
from hfseg.config.values import GivenOptions
from hfseg.data.units import Units, units_of
from hfseg.errors import UserError
from hfseg.evaluation.class_map import prediction_table
from hfseg.evaluation.scoring import score_split
from hfseg.inference import Segmenter
from hfseg.inference.result import Options
from hfseg.labels import LabelSet
from hfseg.metrics.intervals import mean_iou_difference
from hfseg.metrics.table import TRAINING_METRICS
from hfseg.visualization.run_comparison import (
    ComparedImage,
    RunResult,
    comparison_table,
    plot_comparison,
)
from hfseg.visualization.tables import markdown_table
from hfseg.workflows.evaluate import load_split
from hfseg.workflows.finetune import finetune

_TIMED, _ROUNDS = 8, 3


def compare(names: Sequence[str], options: GivenOptions, output: Path, images: int = 3) -> str:
    """Write `comparison.md` and `comparison.png`, and return the text of the former.

    In addition to the scores it gives the difference in mean IoU between each run and the first,
    paired over the validation images, which are segmented again for that.

    Args:
        names: recipes, which are run in `output/NAME` (a finished run there is kept, an interrupted
            one is resumed), and folders of finished runs.
        options: as for `hfseg.finetune`, the same for every recipe.
        output: folder of runs, table and figure.
        images: number of images in the figure.

    Raises:
        UserError: a run failed, or runs have different classes.
    """
    if len(names) < 2:
        raise UserError("give at least two recipes or folders of runs; see --help")
    planned = [
        _plan(name, options, output) for name in names
    ]  # finds mistakes before the first run
    folders = [_finished(*plan) for plan in planned]
    labels = _common_labels(folders)
    data = resolve({"config": str(folders[0] / "recipe.yaml"), **options}).data
    samples, _ = load_split("validation", replace(data, streaming=False))
    segmenters = [Segmenter.from_pretrained(folder) for folder in folders]
    shown = _spread(len(samples), images)
    predictions = [[each(samples[i]["image"]).mask for i in shown] for each in segmenters]
    times = _prediction_times(
        segmenters, [samples[i]["image"] for i in _spread(len(samples), _TIMED)]
    )
    results = [_result(*each) for each in zip(folders, segmenters, times, strict=True)]
    pictures: list[ComparedImage] = [
        {
            "image": samples[index]["image"],
            "truth": np.asarray(samples[index]["label"]),
            "predictions": [masks[number] for masks in predictions],
        }
        for number, index in enumerate(shown)
    ]
    counts = [_image_counts(segmenter, samples, labels, data) for segmenter in segmenters]
    units = units_of(samples, data.dataset_name, data.split_by)
    differences = _differences([folder.name for folder in folders], counts, labels, units)
    titles = {metric.name: metric.title for metric in TRAINING_METRICS}
    table = f"{comparison_table(results, labels, titles)}\n{differences}"
    output.mkdir(parents=True, exist_ok=True)
    (output / "comparison.md").write_text(table, encoding="utf-8")
    plot_comparison(results, labels, pictures, output / "comparison.png")
    return table


def _plan(name: str, options: GivenOptions, output: Path) -> tuple[Path, Arguments | None]:
    """The folder of a run, and its arguments if it is still to be run."""
    if (Path(name) / "eval_results.json").is_file():
        return Path(name), None
    if Path(name).is_dir():
        raise UserError(
            f"{name} is not a finished run (no eval_results.json); give a finished run or a recipe"
        )
    folder = output / Path(name).stem
    wanted = {"config": name, "resume_from_checkpoint": "true", **options}
    return folder, resolve({**wanted, "output_dir": str(folder)})


def _finished(folder: Path, arguments: Arguments | None) -> Path:
    """Run it, if it is not finished."""
    if arguments is not None and not (folder / "eval_results.json").is_file():
        print(f"==== {arguments.name}", flush=True)
        finetune(arguments)
    return folder


def _common_labels(folders: Sequence[Path]) -> LabelSet:
    first, *others = [LabelSet.from_config(AutoConfig.from_pretrained(path)) for path in folders]
    for folder, labels in zip(folders[1:], others, strict=True):
        if labels.names != first.names:
            raise UserError(
                f"{folders[0]} and {folder} have different classes; compare runs on one dataset"
            )
    return first


def _spread(length: int, count: int) -> list[int]:
    """`count` indices, evenly over all samples."""
    return sorted({round(index) for index in np.linspace(0, length - 1, min(count, length))})


def _prediction_times(
    segmenters: Sequence[Segmenter], images: Sequence[Image.Image]
) -> list[float]:
    """Median milliseconds per image, measured in turn, so that a busy moment affects all alike."""
    seconds: list[list[float]] = [[] for _ in segmenters]
    for round_ in range(_ROUNDS + 1):
        for image in images:
            for segmenter, times in zip(segmenters, seconds, strict=True):
                started = time.perf_counter()
                _ = segmenter(image).mask  # on the host, so the computation is finished
                if round_ > 0:  # the first round is a warm-up
                    times.append(time.perf_counter() - started)
    return [1000 * statistics.median(times) for times in seconds]


def _result(folder: Path, segmenter: Segmenter, milliseconds: float) -> RunResult:
    training = json.loads((folder / "train_results.json").read_text(encoding="utf-8"))
    return RunResult(
        name=folder.name,
        scores=json.loads((folder / "eval_results.json").read_text(encoding="utf-8")),
        million_parameters=sum(p.numel() for p in segmenter.model.parameters()) / 1e6,
        training_seconds=training["train_runtime"],
        peak_gib=training.get("train_peak_memory_gib"),
        milliseconds=milliseconds,
    )


def _image_counts(
    segmenter: Segmenter, samples: datasets.Dataset, labels: LabelSet, data: DatasetArguments
) -> dict[int, np.ndarray]:
    """Sample index -> region counts, for `mean_iou_difference`."""
    table = prediction_table(segmenter.labels, labels)
    size = data.image_size if data.eval_at_image_size else None
    return score_split(
        segmenter, samples, labels, table, Options(), label_size=size, metrics=TRAINING_METRICS
    ).per_image


def _differences(
    names: Sequence[str], counts: Sequence[dict[int, np.ndarray]], labels: LabelSet, units: Units
) -> str:
    """A table of the differences from the first run, in percentage points."""
    rows = [[f"mean IoU, difference from {names[0]}", "points", "95 % interval", "p"]]
    notes = []
    for name, counted in zip(names[1:], counts[1:], strict=True):
        found = mean_iou_difference(counts[0], counted, labels.names, units)
        interval, p_value = "none", ""
        if found.bounds is not None:
            interval = "{:+.1f} to {:+.1f}".format(*(100 * bound for bound in found.bounds))
            p_value = f"{found.p_value:.3f}"
        rows.append([name, f"{100 * found.value:+.1f}", interval, p_value])
        notes.append(found.note.replace("none, because", "no interval, because"))
    note = "; ".join(dict.fromkeys(notes))
    return (
        f"{markdown_table(rows)}\n\n"
        f"Paired over the same {len(counts[0])} images, segmented again in float32; {note}.\n"
    )
