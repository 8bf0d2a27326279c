"""The facts that a model card states, and how they are gathered from a finished run."""

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hfseg
from hfseg.config.resolve import Arguments
from hfseg.data import dataset_info
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

    from hfseg.training.trainer import SegmentationTrainer

_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "albumentations", "evaluate")
_SMP_PACKAGES = ("segmentation-models-pytorch", "timm")


@dataclass
class CardInputs:
    """What a card says of a run. Local paths in any text are reduced to their folder name.

    Args:
        model_name: title.
        model_type: `config.model_type`.
        architecture: in words, for example "SegFormer with a MiT-B0 encoder".
        model_name_or_path: as given to the run.
        label_set: names and colours.
        dataset_name: as shown.
        split_sizes: images by split.
        eval_split: the split that `metrics` were measured on.
        metrics: `eval_results.json` (`eval_mean_iou`, `eval_iou_<label>` ...); an IoU that is
            missing, None or NaN means that the class is absent.
        test_metrics: `test_results.json`, empty where there is no test split.
        chosen_by: the score on `eval_split` that picked the checkpoint, None for the last one.
        protocol: one sentence: at which size it was predicted and scored.
        command: the command line that repeats the run.
        recipe: resolved arguments that differ from the defaults.
        seed: of the run.
        hardware: for example "1 x NVIDIA A100" or "CPU, 2 cores".
        training_seconds: wall-clock time of the training.
        num_steps: optimisation steps.
        epochs: passes over the training split.
        versions: package -> version.
        num_parameters: of the model.
        base_model: Hub id of the weights training started from.
        from_scratch: training started from random weights.
        license: of the trained weights, None if unknown; a name that the Hub does not list is
            declared as `other` with that name.
        license_link: where its text is, None if unknown.
        license_terms: what it is about, in half a sentence, None if unknown.
        dataset_id: Hub id of the data set.
        dataset_license: None if unknown.
        dataset_citation: authors, title and year, None if unknown.
        dataset_homepage: address of the official copy and its terms, None if unknown.
        image_size: (height, width) that images are resized to, None for their own size.
        needs_remote_code: loading it without hfseg needs `trust_remote_code=True`.
        is_universal: it answers with queries and masks, as Mask2Former and EoMT do.
        repo_id: Hub id that it is pushed to, None if it isn't.
        notes: further facts, one sentence each.
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
    training_seconds: float
    num_steps: int
    epochs: float
    versions: Mapping[str, str]
    num_parameters: int
    test_metrics: Mapping[str, Any] = field(default_factory=dict)
    chosen_by: str | None = None
    base_model: str | None = None
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


def card_facts(
    arguments: Arguments,
    trainer: "SegmentationTrainer",
    data: "datasets.DatasetDict",
    labels: LabelSet,
    train_scores: dict[str, float],
    scores: dict[str, dict[str, Any]],
    recipe: dict[str, Any],
    repo_id: str | None,
) -> CardInputs:
    """Gather what the card says of a finished run.

    Args:
        scores: split -> its scores, with the prefix `eval_` or `test_`.
        recipe: the arguments as they may be published.
        repo_id: where the run is pushed to, None if it isn't.
    """
    from hfseg.cards.licenses import licence_of_data, licence_of_model, licence_of_weights
    from hfseg.models import NAMED_MODELS
    from hfseg.models.origin import architecture_in_words, weights_repository
    from hfseg.models.universal import is_universal

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
    sides = dict(processor.size)
    resized = processor.do_resize and "height" in sides
    size = (sides["height"], sides["width"]) if resized else None
    architecture = architecture_in_words(config)
    if name in NAMED_MODELS:
        architecture += f" ({name})"
    needs_remote_code = bool(getattr(config, "auto_map", None))
    packages = _PACKAGES + (_SMP_PACKAGES if needs_remote_code else ())
    folder = Path(arguments.training.output_dir)
    return CardInputs(
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
        metrics=scores["validation"],
        test_metrics=scores.get("test", {}),
        chosen_by=_chosen_by(arguments),
        protocol=protocol(config, wanted.image_size, wanted.eval_at_image_size),
        command=shlex.join(arguments.command),
        recipe=recipe,
        seed=arguments.training.seed,
        hardware=hardware(trainer),
        training_seconds=train_scores["train_runtime"],
        num_steps=trainer.state.global_step,
        epochs=float(trainer.state.epoch or 0),
        versions={"hfseg": hfseg.__version__} | {each: version(each) for each in packages},
        num_parameters=sum(p.numel() for p in trainer.model.parameters()),
        image_size=size,
        needs_remote_code=needs_remote_code,
        is_universal=is_universal(trainer.model),
        repo_id=repo_id,
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


def protocol(config: Any, image_size: object, eval_at_image_size: bool) -> str:
    """One sentence: at which size it was predicted and scored."""
    from hfseg.models.universal_eomt import EOMT, side_of

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
