"""The facts stated in a model card, gathered from a finished run."""

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import BaseImageProcessor, PreTrainedConfig

import hfseg
from hfseg.cards.licenses import License, license_of_data, license_of_model, license_of_weights
from hfseg.cards.redaction import redacted_values
from hfseg.config.resolve import Arguments
from hfseg.data import dataset_info
from hfseg.labels import LabelSet
from hfseg.models import NAMED_MODELS
from hfseg.models.origin import architecture_in_words, weights_repository
from hfseg.models.universal import is_universal
from hfseg.models.universal_eomt import EOMT, side_of
from hfseg.training.trainer import SegmentationTrainer

_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "albumentations", "evaluate")
_PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}
_SMP_PACKAGES = ("segmentation-models-pytorch", "timm")

_IN_RUN_JSON = (
    "dataset_name", "split_sizes", "model_name_or_path", "architecture", "num_parameters",
    "base_model", "encoder_weights", "from_scratch", "chosen_by", "protocol", "num_steps", "epochs",
    "training_seconds", "hardware", "precision", "seed", "command", "recipe", "versions",
)  # fmt: skip


@dataclass
class CardInputs:
    """The contents of a model card. Local paths in any text are reduced to their last component.

    Args:
        model_name: title.
        model_type: `config.model_type`.
        architecture: in words, for example "SegFormer with a MiT-B0 encoder".
        model_name_or_path: what training started from: `init_from`, or the model as given.
        label_set: names and colors.
        dataset_name: as displayed.
        split_sizes: images by split.
        eval_split: the split on which `metrics` were measured.
        metrics: `eval_results.json` (`eval_mean_iou`, `eval_iou_<label>` ...); an IoU that is
            missing, None or NaN marks an absent class.
        test_metrics: `test_results.json`, empty without a test split.
        chosen_by: the score on `eval_split` that selected the checkpoint, None for the last one.
        protocol: one sentence: the sizes at which images were predicted and scored.
        command: the command line that repeats the run.
        recipe: resolved arguments that differ from the defaults.
        seed: of the run.
        hardware: for example "1 x NVIDIA A100" or "CPU, 2 cores".
        precision: of the training; scores are always measured in float32.
        training_seconds: wall-clock time of the training.
        num_steps: optimizer steps.
        epochs: passes over the training split.
        versions: package -> version.
        num_parameters: of the model.
        base_model: Hub id of the weights training started from.
        encoder_weights: as given to the run, None for those that the model's name stands for.
        from_scratch: training started from random weights.
        license: of the trained weights, None if unknown; a license that the Hub does not list is
            declared as `other` with its name.
        license_link: URL of its text, None if unknown.
        license_terms: its terms in a phrase, None if unknown.
        dataset_id: Hub id of the dataset.
        dataset_license: None if unknown.
        dataset_citation: authors, title and year, None if unknown.
        dataset_homepage: URL of the official copy and its terms, None if unknown.
        image_size: (height, width) to which images are resized, None for their own size.
        needs_remote_code: loading it without hfseg needs `trust_remote_code=True`.
        is_universal: it predicts queries and masks, like Mask2Former and EoMT.
        repo_id: Hub id to which it is pushed, None if it is not.
        notes: additional facts, one sentence each.
    """

    model_name: str
    model_type: str
    architecture: str
    model_name_or_path: str
    label_set: LabelSet
    dataset_name: str
    split_sizes: Mapping[str, int]
    eval_split: str
    metrics: Mapping[str, Any]
    protocol: str
    command: str
    recipe: Mapping[str, Any]
    seed: int
    hardware: str
    precision: str
    training_seconds: float
    num_steps: int
    epochs: float
    versions: Mapping[str, str]
    num_parameters: int
    test_metrics: Mapping[str, Any] = field(default_factory=dict)
    chosen_by: str | None = None
    base_model: str | None = None
    encoder_weights: str | None = None
    from_scratch: bool = False
    license: str | None = None
    license_link: str | None = None
    license_terms: str | None = None
    dataset_id: str | None = None
    dataset_license: str | None = None
    dataset_citation: str | None = None
    dataset_homepage: str | None = None
    image_size: tuple[int, int] | None = None
    needs_remote_code: bool = False
    is_universal: bool = False
    repo_id: str | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def auto_class(self) -> str:
        kind = "Universal" if self.is_universal else "Semantic"
        return f"AutoModelFor{kind}Segmentation"

    def as_results(self) -> dict[str, Any]:
        """The content of `run.json`: what the scores were measured with, fit for publishing."""
        return redacted_values({name: getattr(self, name) for name in _IN_RUN_JSON})


def card_facts(
    arguments: Arguments,
    trainer: SegmentationTrainer,
    split_sizes: dict[str, int],
    labels: LabelSet,
    train_scores: dict[str, float],
    scores: dict[str, dict[str, Any]],
    recipe: dict[str, Any],
    repo_id: str | None,
) -> CardInputs:
    """Gather the facts of a finished run.

    Args:
        split_sizes: split -> images, as far as they were counted.
        scores: split -> its scores, with the prefix `eval_` or `test_`.
        recipe: the arguments in the form that may be published.
        repo_id: Hub id to which the run is pushed, None if it is not.
    """
    source, start = arguments.data, arguments.model
    dataset_name, name = source.title, str(start.model_name_or_path)
    dataset_id = _dataset_id(source.dataset_name, source.dataset_path)
    started_from = start.init_from or name
    base_model = (
        None if start.from_scratch else weights_repository(started_from, start.encoder_weights)
    )
    weights = license_of_weights(base_model) if base_model else None
    title = _dataset_title(dataset_name, source.dataset_path)
    data_license = license_of_data(dataset_name, dataset_id)
    config = trainer.model.config
    suffix = f" ({name})" if name in NAMED_MODELS else ""
    needs_remote_code = bool(getattr(config, "auto_map", None))
    return CardInputs(
        model_name=(repo_id or Path(arguments.training.output_dir).resolve().name).split("/")[-1],
        model_type=config.model_type,
        architecture=architecture_in_words(config) + suffix,
        model_name_or_path=started_from,
        base_model=base_model,
        encoder_weights=start.encoder_weights,
        from_scratch=start.from_scratch,
        **_license_facts(license_of_model(weights, data_license, title, start.from_scratch)),
        **_dataset_facts(dataset_name, data_license),
        dataset_name=title,
        label_set=labels,
        dataset_id=dataset_id,
        split_sizes=split_sizes,
        eval_split="validation",
        metrics=scores["validation"],
        test_metrics=scores.get("test", {}),
        chosen_by=_chosen_by(arguments),
        protocol=protocol(config, source.image_size, source.eval_at_image_size),
        command=shlex.join(arguments.command),
        recipe=recipe,
        **_training_facts(trainer, train_scores),
        versions=_versions(with_smp=needs_remote_code),
        image_size=_image_size(trainer.processing_class),
        needs_remote_code=needs_remote_code,
        is_universal=is_universal(trainer.model),
        repo_id=repo_id,
    )


def _training_facts(trainer: SegmentationTrainer, train_scores: dict[str, float]) -> dict[str, Any]:
    return {
        "seed": trainer.args.seed,
        "hardware": hardware(trainer.args.device, trainer.accelerator.num_processes),
        "precision": _PRECISIONS[trainer.args.mixed_precision],
        "training_seconds": train_scores["train_runtime"],
        "num_steps": trainer.state.global_step,
        "epochs": float(trainer.state.epoch or 0),
        "num_parameters": sum(p.numel() for p in trainer.model.parameters()),
    }


def _versions(with_smp: bool) -> dict[str, str]:
    packages = _PACKAGES + (_SMP_PACKAGES if with_smp else ())
    return {"hfseg": hfseg.__version__} | {each: version(each) for each in packages}


def _license_facts(license: License | None) -> dict[str, Any]:
    if license is None:
        return {}
    return {
        "license": license.name,
        "license_link": license.link,
        "license_terms": license.terms,
    }


def _dataset_facts(name: str, license: License | None) -> dict[str, Any]:
    info = dataset_info(name)
    return {
        "dataset_license": (license.terms or license.name) if license else None,
        "dataset_citation": info.citation if info else None,
        "dataset_homepage": info.homepage if info else None,
    }


def _image_size(processor: BaseImageProcessor) -> tuple[int, int] | None:
    """(height, width) to which the processor resizes, None if it keeps the aspect ratio."""
    sides = dict(processor.size)
    resized = processor.do_resize and "height" in sides
    return (sides["height"], sides["width"]) if resized else None


def _dataset_title(name: str, path: str | None) -> str:
    """The name of the data, not of the reader: `folder` would not say which folder."""
    info = dataset_info(name)
    if info is not None:
        return info.title
    return Path(path).resolve().name if path and name in ("folder", "coco") else name


def _chosen_by(arguments: Arguments) -> str | None:
    """The validation score that selected the checkpoint, None if it is the last one."""
    training = arguments.training
    if not training.load_best_model_at_end:
        return None
    return str(training.metric_for_best_model or "loss").removeprefix("eval_")


def _dataset_id(name: str | None, path: str | None) -> str | None:
    """The Hub id of the data, None if it is local."""
    if path is not None:
        return None if os.path.exists(path) else path
    info = dataset_info(str(name))
    if info is not None:
        return info.hub_id
    return name if name and "/" in name and not os.path.exists(name) else None


def protocol(config: PreTrainedConfig, image_size: object, eval_at_image_size: bool) -> str:
    """One sentence: the sizes at which images were predicted and scored."""
    images = f"Images resized to {image_size}" if image_size else "Images at their own size"
    if config.model_type in EOMT:
        side = side_of(config)
        images = f"Images scaled to {side} pixels on their shorter side, in windows of {side}"
    label = (
        f"the label's size after resizing to {image_size}"
        if eval_at_image_size
        else ("the label's own size")
    )
    return (
        f"{images}; logits resized bilinearly to {label}, then argmax; pixels labeled 255 are "
        "ignored; the mean is over the classes that occur in labels or predictions."
    )


def hardware(device: torch.device, processes: int) -> str:
    """The hardware of a run or an evaluation, in words."""
    if device.type == "cuda":
        return f"{processes} x {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    shared = f", {processes} processes" if processes > 1 else ""
    return f"CPU ({platform.machine()}, {cores} cores{shared})"
