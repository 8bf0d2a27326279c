"""Runs against each other: recipes are run, finished runs are read, all are measured alike."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfseg.data.transforms import parse_size
from hfseg.data.units import Units, units_of
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.intervals import mean_iou_difference
from hfseg.training.arguments import DataArguments
from hfseg.training.parse import parse
from hfseg.workflows.evaluate import load_split

if TYPE_CHECKING:
    from hfseg.visualization.run_comparison import RunResult

_TIMED = 8


def compare(
    names: Sequence[str], flags: list[str], output: Path, finetune_script: Path, images: int = 3
) -> str:
    """Write `comparison.md` and `comparison.png`; returns the text of the first.

    Beside the scores of the runs it has the difference of each run's mean IoU to the first
    run's, paired over the validation images, which all are segmented anew for that.

    Args:
        names: recipes, which are run into `output/NAME` (a finished run there is kept, a cut-off
            one is resumed), and folders of finished runs.
        flags: of `scripts/finetune.py`, the same for every recipe.
        output: where runs, table and figure go.
        finetune_script: the script that runs a recipe.
        images: how many images are shown.

    Raises:
        UserError: a run that failed, or runs with different classes.
    """
    from hfseg.visualization.run_comparison import comparison_table, plot_comparison

    folders = [_finished(name, flags, output, finetune_script) for name in names]
    labels = _common_labels(folders)
    data = parse(["--config", str(folders[0] / "recipe.yaml"), *flags]).data
    samples, _ = load_split("validation", replace(data, streaming=False))
    measured = [_measure(folder, samples, images, labels, data) for folder in folders]
    results = [run.result for run in measured]
    pictures = [
        {
            "image": samples[index]["image"],
            "truth": np.asarray(samples[index]["label"]),
            "predictions": [run.masks[number] for run in measured],
        }
        for number, index in enumerate(_spread(len(samples), images))
    ]
    units = units_of(samples, data.dataset_name, data.split_by)
    table = comparison_table(results, labels) + "\n" + _differences(measured, labels, units)
    (output / "comparison.md").write_text(table, encoding="utf-8")
    plot_comparison(results, labels, pictures, output / "comparison.png")
    return table


def _finished(name: str, flags: list[str], output: Path, script: Path) -> Path:
    """The folder of a finished run, which is made first if `name` is a recipe."""
    if (Path(name) / "eval_results.json").is_file():
        return Path(name)
    if Path(name).is_dir():
        raise UserError(f"{name}: no eval_results.json in it; is the run finished?")
    parse(["--config", name, *flags])  # a mistake is told before the first run
    folder = output / Path(name).stem
    if not (folder / "eval_results.json").is_file():
        print(f"==== {name}", flush=True)
        words = ["--config", name, "--output_dir", str(folder), "--resume_from_checkpoint", "true"]
        done = subprocess.run([sys.executable, str(script), *words, *flags])
        if done.returncode != 0:
            raise UserError(f"the run of {name} ended with exit code {done.returncode}, see above")
    return folder


def _common_labels(folders: Sequence[Path]) -> LabelSet:
    from transformers import AutoConfig

    first, *others = [LabelSet.from_config(AutoConfig.from_pretrained(path)) for path in folders]
    for folder, labels in zip(folders[1:], others, strict=True):
        if labels.names != first.names:
            raise UserError(
                f"{folders[0]} and {folder} have different classes; compare runs on one data set"
            )
    return first


def _spread(length: int, count: int) -> list[int]:
    """`count` indices, evenly over all samples."""
    return sorted({round(index) for index in np.linspace(0, length - 1, min(count, length))})


@dataclass
class _Measured:
    result: "RunResult"
    masks: list[np.ndarray]  # of the images that are shown
    per_image: dict[int, np.ndarray]  # of `SplitScores`


def _measure(
    folder: Path, samples: Any, images: int, labels: LabelSet, data: DataArguments
) -> _Measured:
    from hfseg.evaluation.label_map import prediction_table
    from hfseg.evaluation.scoring import score_split
    from hfseg.inference import Segmenter
    from hfseg.inference.result import Options
    from hfseg.visualization.run_comparison import RunResult

    segmenter = Segmenter.from_pretrained(folder)
    shown = [segmenter(samples[index]["image"]).mask for index in _spread(len(samples), images)]
    seconds = []
    for index in _spread(len(samples), _TIMED):
        image = samples[index]["image"]
        started = time.perf_counter()
        _ = segmenter(image).mask  # on the host: nothing is still being computed
        seconds.append(time.perf_counter() - started)
    scores = score_split(
        segmenter,
        samples,
        labels,
        prediction_table(segmenter.labels, labels),
        Options.make(None, None, None),
        label_size=parse_size("--image_size", data.image_size) if data.eval_at_image_size else None,
        boundaries=False,
    )
    training = json.loads((folder / "train_results.json").read_text(encoding="utf-8"))
    result = RunResult(
        name=folder.name,
        scores=json.loads((folder / "eval_results.json").read_text(encoding="utf-8")),
        million_parameters=sum(p.numel() for p in segmenter.model.parameters()) / 1e6,
        training_seconds=training["train_runtime"],
        peak_gib=training.get("train_peak_memory_gib"),
        milliseconds=1000 * statistics.median(seconds),
    )
    return _Measured(result, shown, scores.per_image)


def _differences(runs: Sequence[_Measured], labels: LabelSet, units: Units) -> str:
    """A table of the differences to the first run, in percentage points."""
    first, *others = runs
    lines = [
        f"| mean IoU, difference to {first.result.name} | points | 95 % interval | p |",
        "|---|---:|---:|---:|",
    ]
    notes = []
    for run in others:
        found = mean_iou_difference(first.per_image, run.per_image, labels.names, units)
        interval, p_value = "none", ""
        if found.bounds is not None:
            interval = "{:+.1f} to {:+.1f}".format(*(100 * bound for bound in found.bounds))
            p_value = f"{found.p_value:.3f}"
        cells = (run.result.name, f"{100 * found.value:+.1f}", interval, p_value)
        lines.append(f"| {' | '.join(cells)} |")
        notes.append(found.note)
    images, note = len(first.per_image), "; ".join(dict.fromkeys(notes))
    lines += ["", f"Paired over the same {images} images; {note}."]
    return "\n".join(lines) + "\n"
