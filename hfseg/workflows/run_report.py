"""The output of a run: results, recipe, figures and model card."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from hfseg.cards.card_facts import card_facts
from hfseg.cards.model_card import write_model_card
from hfseg.config.resolve import Arguments
from hfseg.config.run_recipe import RECIPE_FILE, recipe_of
from hfseg.data.rows import sample_names
from hfseg.data.streaming import rows_at
from hfseg.disk import write_text
from hfseg.evaluation.calibration import Calibration
from hfseg.inference import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.calibration import expected_calibration_error, reliability
from hfseg.metrics.intervals import interval_text
from hfseg.metrics.table import TRAINING_METRICS
from hfseg.training.checkpoints import STATE_FILE
from hfseg.training.trainer import SegmentationTrainer
from hfseg.visualization.class_figures import plot_confusion, plot_per_class_iou
from hfseg.visualization.curves import plot_curves
from hfseg.visualization.prediction_figures import PredictionRow, plot_predictions
from hfseg.visualization.reliability import plot_reliability
from hfseg.visualization.tables import terminal_table
from hfseg.workflows.run_start import START_FILE

RUN_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "configuration_smp.py",
    "modeling_smp.py",
    "README.md",
    RECIPE_FILE,
    START_FILE,
    STATE_FILE,
    "run.json",
    "train_results.json",
    "eval_results.json",
    "test_results.json",
)
_PICTURES = 3
_Picture = tuple[str, dict[str, Any]]
"""Its name, and `image` and `label`."""


@dataclass
class Evaluation:
    """The scores of one split.

    Attributes:
        scores: with the prefix `eval_` or `test_`; `..._mean_iou_interval_95` is [low, high]
            or None, and `..._mean_iou_interval_note` states the independent units.
        confusion: (K, K) int64, rows ground truth.
        per_image: sample index -> mIoU.
        absent: classes that occur in neither labels nor predictions.
        calibration: (3, BINS) `confidence_counts`.
        fitted: the temperature that was fitted on this split, with `--calibrate`.
    """

    scores: dict[str, Any]
    confusion: np.ndarray
    per_image: dict[int, float]
    absent: list[str]
    calibration: np.ndarray
    fitted: Calibration | None = None


def write_run(
    arguments: Arguments,
    trainer: SegmentationTrainer,
    data: datasets.DatasetDict,
    labels: LabelSet,
    train_scores: dict[str, float],
    evaluations: dict[str, Evaluation],
    repo_id: str | None = None,
) -> None:
    """Write results, `report/*.png` and the card; print the per-class table.

    If the run is pushed, the usage in its card names `repo_id`.
    """
    folder = Path(arguments.training.output_dir)
    validation = evaluations["validation"]
    _write_json(folder / "train_results.json", train_scores)
    _write_json(folder / "eval_results.json", validation.scores)
    if "test" in evaluations:
        _write_json(folder / "test_results.json", evaluations["test"].scores)
    pictures = _pictures(data["validation"], validation)
    _write_figures(folder / "report", trainer, pictures, labels, validation)
    _write_reliability(folder / "report" / "reliability.png", validation)
    _write_examples(folder / "examples", pictures, validation)
    scores = {split: evaluation.scores for split, evaluation in evaluations.items()}
    sizes = {split: len(rows) for split, rows in data.items() if hasattr(rows, "__len__")}
    sizes |= {split: len(evaluation.per_image) for split, evaluation in evaluations.items()}
    facts = card_facts(
        arguments, trainer, sizes, labels, train_scores, scores, recipe_of(arguments), repo_id
    )
    _write_json(folder / "run.json", facts.as_results())
    write_model_card(folder, facts)
    print(class_table(labels, evaluations))
    for split, evaluation in evaluations.items():
        key = f"{'eval' if split == 'validation' else split}_mean_iou"
        print(f"95 % interval of the mean IoU, {split}: {interval_text(evaluation.scores, key)}")


def class_table(labels: LabelSet, evaluations: dict[str, Evaluation]) -> str:
    """IoU per class and split, for the terminal."""
    prefixes = {split: ("eval" if split == "validation" else split) for split in evaluations}
    keys = dict(zip(labels.names, labels.metric_names, strict=True))
    metrics = [(name, f"iou_{key}") for name, key in keys.items()]
    metrics += [(metric.title, metric.name) for metric in TRAINING_METRICS]
    rows = [["class", *evaluations]]
    for name, key in metrics:
        values = [evaluations[s].scores[f"{prefix}_{key}"] for s, prefix in prefixes.items()]
        rows.append([name, *("absent" if math.isnan(v) else f"{v:.4f}" for v in values)])
    return terminal_table(rows, summary_rows=len(TRAINING_METRICS))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    """JSON has no NaN: the score of an absent class is null."""
    clean = {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in values.items()
    }
    write_text(path, json.dumps(clean, indent=2, ensure_ascii=False) + "\n")


def _pictures(rows: datasets.Dataset, validation: Evaluation) -> dict[int, _Picture]:
    """The validation images that are shown, by index."""
    shown = {index for _, index in _shown_samples(validation.per_image)}
    if isinstance(rows, datasets.IterableDataset):
        found = rows_at(rows, shown)
        return {index: (f"validation sample {index}", found[index]) for index in shown}
    names = sample_names(rows, "validation")
    return {index: (names[index], rows[index]) for index in shown}


def _write_figures(
    folder: Path,
    trainer: SegmentationTrainer,
    pictures: dict[int, _Picture],
    labels: LabelSet,
    validation: Evaluation,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ious = [validation.scores[f"eval_iou_{key}"] for key in labels.metric_names]
    plot_curves(trainer.state.log_history, folder / "curves.png")
    plot_per_class_iou(
        labels.names,
        ious,
        labels.palette,
        folder / "per_class_iou.png",
        mean_iou=validation.scores["eval_mean_iou"],
    )
    plot_confusion(validation.confusion, labels.names, folder / "confusion_matrix.png")

    segmenter = Segmenter(trainer.model, trainer.processing_class)
    rows: list[PredictionRow] = []
    for caption, index in _shown_samples(validation.per_image):
        name, sample = pictures[index]
        rows.append(
            {
                "image": sample["image"],
                "truth": np.asarray(sample["label"]),
                "prediction": segmenter(sample["image"]).mask,
                "caption": f"{caption}, {name}: mIoU {validation.per_image[index]:.2f}",
            }
        )
    plot_predictions(rows, labels, folder / "predictions.png")


def _write_reliability(path: Path, validation: Evaluation) -> None:
    curves = {"validation": validation.calibration}
    if validation.fitted is not None:
        now = f"at temperature {validation.fitted.temperature:.3f}"
        curves = {"at temperature 1": validation.fitted.before, now: validation.calibration}
    captions = {
        f"{name}: calibration error {expected_calibration_error(counts):.4f}": reliability(counts)
        for name, counts in curves.items()
    }
    plot_reliability(captions, path)


def _write_examples(folder: Path, pictures: dict[int, _Picture], validation: Evaluation) -> None:
    """A few typical validation images with ground truth, as examples for the demo."""
    folder.mkdir(exist_ok=True)
    for index in _typical(_ranked(validation.per_image)):
        _, sample = pictures[index]
        sample["image"].convert("RGB").save(folder / f"validation-{index}.jpg", quality=95)
        sample["label"].save(folder / f"validation-{index}_mask.png")


def _shown_samples(per_image: dict[int, float]) -> list[tuple[str, int]]:
    """The worst images and those around the median."""
    ranked = _ranked(per_image)
    worst = ranked[:_PICTURES]
    typical = [index for index in _typical(ranked) if index not in worst]
    return [("worst", index) for index in worst] + [("typical", index) for index in typical]


def _ranked(per_image: dict[int, float]) -> list[int]:
    """Indices by mIoU, the worst first; those without a score are left out unless all are."""
    ranked = sorted(per_image, key=lambda index: (per_image[index], index))
    return [index for index in ranked if not math.isnan(per_image[index])] or ranked


def _typical(ranked: list[int]) -> list[int]:
    """The indices around the median."""
    middle = max(len(ranked) // 2 - _PICTURES // 2, 0)
    return ranked[middle : middle + _PICTURES]
