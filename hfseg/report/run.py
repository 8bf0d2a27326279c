"""What a run leaves in its folder: results, recipe, figures and the model card."""

import json
import math
import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from hfseg.labels import LabelSet
from hfseg.training.parse import Arguments

if TYPE_CHECKING:
    import datasets

    from hfseg.training.trainer import SegmentationTrainer

RUN_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
    "recipe.yaml",
    "train_results.json",
    "eval_results.json",
    "test_results.json",
)
_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "albumentations", "evaluate")
_PICTURES = 3


@dataclass
class Evaluation:
    """One split, scored.

    Attributes:
        scores: with the prefix `eval_` or `test_`.
        confusion: (K, K) int64, rows truth.
        per_image: sample index -> mIoU.
        absent: classes in neither labels nor predictions.
    """

    scores: dict[str, float]
    confusion: np.ndarray
    per_image: dict[int, float]
    absent: list[str]


def write_run(
    arguments: Arguments,
    trainer: "SegmentationTrainer",
    data: "datasets.DatasetDict",
    labels: LabelSet,
    train_scores: dict[str, float],
    evaluations: dict[str, Evaluation],
) -> None:
    """Write results, `recipe.yaml`, `report/*.png` and the card; print the per-class table."""
    folder = Path(arguments.training.output_dir)
    validation = evaluations["validation"]
    _write_json(folder / "train_results.json", train_scores)
    _write_json(folder / "eval_results.json", validation.scores)
    if "test" in evaluations:
        _write_json(folder / "test_results.json", evaluations["test"].scores)
    (folder / "recipe.yaml").write_text(recipe_yaml(arguments), encoding="utf-8")
    _write_figures(folder / "report", trainer, data, labels, validation)
    _write_card(arguments, trainer, data, labels, train_scores, validation)
    print(class_table(labels, evaluations))


def recipe_yaml(arguments: Arguments) -> str:
    """The resolved arguments as a recipe that repeats the run.

    Paths of this machine stay out of it: the folder is pushed as it stands.
    """
    recipe, local = {}, []
    for key, value in arguments.recipe.items():
        if key in ("output_dir", "resume_from_checkpoint", "overwrite_output_dir"):
            continue
        if isinstance(value, str) and (os.path.isabs(value) or os.path.exists(value)):
            local.append(f"--{key} <{Path(value).name}>")
            continue
        recipe[key] = value
    head = f"# add on the command line: {' '.join(local)}\n" if local else ""
    return head + yaml.safe_dump(recipe, sort_keys=True, allow_unicode=True)


def class_table(labels: LabelSet, evaluations: dict[str, Evaluation]) -> str:
    """IoU of each class and split, for the terminal."""
    prefixes = {split: ("eval" if split == "validation" else split) for split in evaluations}
    width = max(len(name) for name in (*labels.names, "overall accuracy"))
    lines = ["class".ljust(width) + "".join(f"{split:>13}" for split in evaluations)]
    rows = [
        (name, f"iou_{key}") for name, key in zip(labels.names, labels.metric_names, strict=True)
    ]
    rows += [("mean IoU", "mean_iou"), ("mean accuracy", "mean_accuracy")]
    rows += [("overall accuracy", "overall_accuracy")]
    for name, key in rows:
        values = [evaluations[s].scores[f"{prefix}_{key}"] for s, prefix in prefixes.items()]
        cells = ["absent" if math.isnan(value) else f"{value:.4f}" for value in values]
        lines.append(name.ljust(width) + "".join(f"{cell:>13}" for cell in cells))
    lines.insert(-3, "-" * len(lines[0]))
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _write_json(path: Path, scores: dict[str, Any]) -> None:
    """NaN is no JSON: the score of an absent class is null."""
    clean = {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in scores.items()
    }
    path.write_text(json.dumps(clean, indent=2) + "\n", encoding="utf-8")


def _write_figures(
    folder: Path,
    trainer: "SegmentationTrainer",
    data: "datasets.DatasetDict",
    labels: LabelSet,
    validation: Evaluation,
) -> None:
    from hfseg.inference import Segmenter
    from hfseg.report.figures import (
        plot_confusion,
        plot_curves,
        plot_per_class_iou,
        plot_predictions,
    )

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
    rows = []
    for caption, index in _shown_samples(validation.per_image):
        sample = data["validation"][index]
        rows.append(
            {
                "image": sample["image"],
                "truth": np.asarray(sample["label"]),
                "prediction": segmenter(sample["image"]).mask,
                "caption": f"{caption}: mIoU {validation.per_image[index]:.2f}",
            }
        )
    plot_predictions(rows, labels, folder / "predictions.png")


def _shown_samples(per_image: dict[int, float]) -> list[tuple[str, int]]:
    """The worst images and the ones around the median."""
    ranked = sorted(per_image, key=lambda index: (per_image[index], index))
    ranked = [index for index in ranked if not math.isnan(per_image[index])] or ranked
    worst = ranked[:_PICTURES]
    middle = max(len(ranked) // 2 - _PICTURES // 2, 0)
    typical = [index for index in ranked[middle : middle + _PICTURES] if index not in worst]
    return [("worst", index) for index in worst] + [("typical", index) for index in typical]


def _write_card(
    arguments: Arguments,
    trainer: "SegmentationTrainer",
    data: "datasets.DatasetDict",
    labels: LabelSet,
    train_scores: dict[str, float],
    validation: Evaluation,
) -> None:
    from hfseg.models import NAMED_MODELS
    from hfseg.report.model_card import CardInputs, write_model_card

    named = NAMED_MODELS.get(str(arguments.model.model_name_or_path))
    base = arguments.model.encoder_weights or (
        named.weights if named else arguments.model.model_name_or_path
    )
    from_hub = base is not None and not os.path.isdir(base) and not arguments.model.from_scratch
    wanted, size = arguments.data, arguments.data.image_size
    protocol = (
        f"Images {'resized to ' + str(size) if size else 'at their own size'}; logits resized "
        "bilinearly to the label's "
        + (f"size after resizing to {size}" if wanted.eval_at_image_size else "own size")
        + ", then argmax; pixels labelled 255 are ignored; mean over the classes that occur in "
        "labels or predictions."
    )
    write_model_card(
        Path(arguments.training.output_dir),
        CardInputs(
            model_name=Path(arguments.training.output_dir).name,
            architecture=type(trainer.model).__name__,
            model_name_or_path=_public(str(arguments.model.model_name_or_path)),
            from_scratch=arguments.model.from_scratch,
            base_model=base if from_hub else None,
            local_weights=None if from_hub or arguments.model.from_scratch else _public(str(base)),
            license=named.license if named and from_hub else None,
            dataset_name=str(wanted.dataset_name),
            dataset_id=None,
            dataset_license=None,
            labels=labels,
            split_sizes={split: len(rows) for split, rows in data.items()},
            eval_split="validation",
            metrics=validation.scores,
            absent=validation.absent,
            protocol=protocol,
            command=public_command(arguments.argv),
            recipe=recipe_yaml(arguments),
            seed=arguments.training.seed,
            hardware=hardware(trainer),
            training_seconds=train_scores["train_runtime"],
            num_steps=trainer.state.global_step,
            epochs=float(trainer.state.epoch or 0),
            versions={name: version(name) for name in _PACKAGES},
            num_parameters=sum(p.numel() for p in trainer.model.parameters()),
            needs_remote_code=bool(getattr(trainer.model.config, "auto_map", None)),
        ),
    )


def _public(path: str) -> str:
    """A Hub id or name as it is; of a local path only the last part."""
    return Path(path).name if os.path.exists(path) or os.path.isabs(path) else path


def public_command(argv: Sequence[str]) -> str:
    """The command line of the run, without the paths of this machine."""
    words = []
    for word in argv:
        flag, equals, value = word.partition("=")
        words.append(flag + equals + _public(value) if equals else _public(word))
    return shlex.join(["accelerate", "launch", "scripts/finetune.py", *words])


def hardware(trainer: "SegmentationTrainer") -> str:
    """Where the run was made, in words."""
    import torch

    processes = trainer.accelerator.num_processes
    if trainer.args.device.type == "cuda":
        return f"{processes} x {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU ({platform.machine()}, {cores} cores), {processes} process(es)"
