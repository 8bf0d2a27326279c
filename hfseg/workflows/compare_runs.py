"""Runs against each other: recipes are run, finished runs are read, all are measured alike."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.training.parse import parse

if TYPE_CHECKING:
    from hfseg.visualization.run_comparison import RunResult

_TIMED = 8


def compare(
    names: Sequence[str], flags: list[str], output: Path, finetune_script: Path, images: int = 3
) -> str:
    """Write `comparison.md` and `comparison.png`; returns the table.

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
    samples = _samples(folders[0], flags)
    results, predictions = [], []
    for folder in folders:
        result, masks = _measure(folder, samples, images)
        results.append(result)
        predictions.append(masks)
    pictures = [
        {
            "image": samples[index]["image"],
            "truth": np.asarray(samples[index]["label"]),
            "predictions": [masks[number] for masks in predictions],
        }
        for number, index in enumerate(_spread(len(samples), images))
    ]
    table = comparison_table(results, labels)
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


def _samples(folder: Path, flags: list[str]) -> Any:
    from hfseg.workflows.assemble import load_data

    data, _ = load_data(parse(["--config", str(folder / "recipe.yaml"), *flags]))
    return data["validation"]


def _spread(length: int, count: int) -> list[int]:
    """`count` indices, evenly over all samples."""
    return sorted({round(index) for index in np.linspace(0, length - 1, min(count, length))})


def _measure(folder: Path, samples: Any, images: int) -> "tuple[RunResult, list[np.ndarray]]":
    from hfseg.inference import Segmenter
    from hfseg.visualization.run_comparison import RunResult

    segmenter = Segmenter.from_pretrained(folder)
    shown = [segmenter(samples[index]["image"]).mask for index in _spread(len(samples), images)]
    seconds = []
    for index in _spread(len(samples), _TIMED):
        image = samples[index]["image"]
        started = time.perf_counter()
        _ = segmenter(image).mask  # on the host: nothing is still being computed
        seconds.append(time.perf_counter() - started)
    training = json.loads((folder / "train_results.json").read_text(encoding="utf-8"))
    result = RunResult(
        name=folder.name,
        scores=json.loads((folder / "eval_results.json").read_text(encoding="utf-8")),
        million_parameters=sum(p.numel() for p in segmenter.model.parameters()) / 1e6,
        training_seconds=training["train_runtime"],
        peak_gib=training.get("train_peak_memory_gib"),
        milliseconds=1000 * statistics.median(seconds),
    )
    return result, shown
