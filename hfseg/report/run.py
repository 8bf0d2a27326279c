"""What a run leaves in its folder: results, recipe, figures and the model card."""

import json
import math
import os
import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

import hfseg
from hfseg.data import dataset_info
from hfseg.labels import LabelSet
from hfseg.report.redaction import redacted_values
from hfseg.training.parse import Arguments

if TYPE_CHECKING:
    import datasets

    from hfseg.training.trainer import SegmentationTrainer

RUN_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "configuration_smp.py",
    "modeling_smp.py",
    "README.md",
    "recipe.yaml",
    "train_results.json",
    "eval_results.json",
    "test_results.json",
)
_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "albumentations", "evaluate")
_SMP_PACKAGES = ("segmentation-models-pytorch", "timm")
_NOT_IN_RECIPE = (
    "output_dir", "resume_from_checkpoint", "overwrite_output_dir", "push_to_hub", "hub_model_id",
    "hub_private_repo", "hub_strategy", "hub_revision", "hub_always_push",
)  # fmt: skip
_PICTURES = 3


@dataclass
class Evaluation:
    """One split, scored.

    Attributes:
        scores: with the prefix `eval_` or `test_`; `..._mean_iou_interval_95` is [low, high], from
            a bootstrap over the images.
        confusion: (K, K) int64, rows truth.
        per_image: sample index -> mIoU.
        absent: classes in neither labels nor predictions.
    """

    scores: dict[str, Any]
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
    repo_id: str | None = None,
) -> None:
    """Write results, `recipe.yaml`, `report/*.png` and the card; print the per-class table.

    With `repo_id`, where the run is pushed to, the card's usage names that.
    """
    folder = Path(arguments.training.output_dir)
    validation = evaluations["validation"]
    _write_json(folder / "train_results.json", train_scores)
    _write_json(folder / "eval_results.json", validation.scores)
    if "test" in evaluations:
        _write_json(folder / "test_results.json", evaluations["test"].scores)
    (folder / "recipe.yaml").write_text(recipe_yaml(arguments), encoding="utf-8")
    _write_figures(folder / "report", trainer, data, labels, validation)
    _write_card(arguments, trainer, data, labels, train_scores, evaluations, repo_id)
    print(class_table(labels, evaluations))


def public_recipe(arguments: Arguments) -> dict[str, Any]:
    """The resolved arguments that repeat the run.

    Where it ran is left out, and of local paths all but the last part: the folder is pushed as
    it stands.
    """
    said = {key: value for key, value in arguments.recipe.items() if key not in _NOT_IN_RECIPE}
    return redacted_values(dict(sorted(said.items())))


def recipe_yaml(arguments: Arguments) -> str:
    """`public_recipe` as the text of `recipe.yaml`."""
    head = f"# repeats the run {Path(arguments.training.output_dir).name!r}: --config recipe.yaml\n"
    local = [
        f"--{key} (a folder of yours, here {Path(str(value)).name})"
        for key, value in arguments.recipe.items()
        if isinstance(value, str) and key not in _NOT_IN_RECIPE and redacted_values(value) != value
    ]
    if local:
        head += f"# say again on the command line: {', '.join(local)}\n"
    return head + yaml.safe_dump(public_recipe(arguments), allow_unicode=True)


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
    evaluations: dict[str, Evaluation],
    repo_id: str | None,
) -> None:
    from hfseg.models import NAMED_MODELS
    from hfseg.models.origin import architecture_in_words, weights_repository
    from hfseg.report.licences import licence_of_data, licence_of_model, licence_of_weights
    from hfseg.report.model_card import CardInputs, write_model_card

    wanted, start = arguments.data, arguments.model
    dataset_name, name = str(wanted.dataset_name), str(start.model_name_or_path)
    dataset_id = _dataset_id(wanted.dataset_name, wanted.dataset_path)
    base_model = None if start.from_scratch else weights_repository(name, start.encoder_weights)
    weights = licence_of_weights(base_model) if base_model else None
    info = dataset_info(dataset_name)
    title = _dataset_title(dataset_name, wanted.dataset_path)
    data_licence = licence_of_data(dataset_name, dataset_id)
    licence = licence_of_model(weights, data_licence, title, start.from_scratch)
    config = trainer.model.config
    processor = trainer.processing_class
    size = (processor.size["height"], processor.size["width"]) if processor.do_resize else None
    architecture = architecture_in_words(config)
    if name in NAMED_MODELS:
        architecture += f" ({name})"
    needs_remote_code = bool(getattr(config, "auto_map", None))
    packages = _PACKAGES + (_SMP_PACKAGES if needs_remote_code else ())
    folder = Path(arguments.training.output_dir)
    write_model_card(
        folder,
        CardInputs(
            model_name=(repo_id or folder.resolve().name).split("/")[-1],
            model_type=config.model_type,
            architecture=architecture,
            model_name_or_path=name,
            base_model=base_model,
            from_scratch=start.from_scratch,
            license=licence.name if licence else None,
            license_link=licence.link if licence else None,
            license_terms=licence.terms if licence else None,
            dataset_name=title,
            label_set=labels,
            dataset_id=dataset_id,
            dataset_license=(data_licence.terms or data_licence.name) if data_licence else None,
            dataset_citation=info.citation if info else None,
            dataset_homepage=info.homepage if info else None,
            split_sizes={s: len(rows) for s, rows in data.items() if hasattr(rows, "__len__")},
            eval_split="validation",
            metrics=evaluations["validation"].scores,
            test_metrics=evaluations["test"].scores if "test" in evaluations else {},
            chosen_by=_chosen_by(arguments),
            protocol=protocol(wanted.image_size, wanted.eval_at_image_size),
            command=shlex.join(["accelerate", "launch", "scripts/finetune.py", *arguments.argv]),
            recipe=public_recipe(arguments),
            seed=arguments.training.seed,
            hardware=hardware(trainer),
            training_seconds=train_scores["train_runtime"],
            num_steps=trainer.state.global_step,
            epochs=float(trainer.state.epoch or 0),
            versions={"hfseg": hfseg.__version__} | {each: version(each) for each in packages},
            num_parameters=sum(p.numel() for p in trainer.model.parameters()),
            image_size=size,
            needs_remote_code=needs_remote_code,
            repo_id=repo_id,
        ),
    )


def _dataset_title(name: str, path: str | None) -> str:
    """The name of the data, not of the reader: `folder` would tell nobody which folder."""
    info = dataset_info(name)
    if info is not None:
        return info.title
    return Path(path).resolve().name if path and name in ("folder", "coco") else name


def _chosen_by(arguments: Arguments) -> str | None:
    """The validation score that picked the checkpoint, where one was picked."""
    training = arguments.training
    if not training.load_best_model_at_end:
        return None
    return str(training.metric_for_best_model or "loss").removeprefix("eval_")


def _dataset_id(name: str | None, path: str | None) -> str | None:
    """The Hub id of the data, where it came from the Hub."""
    if path is not None:
        return None if os.path.exists(path) else path
    info = dataset_info(str(name))
    if info is not None:
        return info.hub_id
    return name if name and "/" in name and not os.path.exists(name) else None


def protocol(image_size: str | None, eval_at_image_size: bool) -> str:
    """One sentence: at which size it was predicted and scored."""
    images = f"Images resized to {image_size}" if image_size else "Images at their own size"
    label = (
        f"the label's size after resizing to {image_size}"
        if eval_at_image_size
        else ("the label's own size")
    )
    return (
        f"{images}; logits resized bilinearly to {label}, then argmax; pixels labelled 255 are "
        "ignored; the mean is over the classes that occur in labels or predictions."
    )


def hardware(trainer: "SegmentationTrainer") -> str:
    """Where the run was made, in words."""
    import torch

    processes = trainer.accelerator.num_processes
    if trainer.args.device.type == "cuda":
        return f"{processes} x {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    shared = f", {processes} processes" if processes > 1 else ""
    return f"CPU ({platform.machine()}, {cores} cores{shared})"
