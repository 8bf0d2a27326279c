"""The Python calls `hfseg.finetune`, `hfseg.evaluate` and `hfseg.predict`.

They take the flags of the commands by name; datasets and models may also be objects.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import datasets
from PIL import Image
from torch.utils.data import Dataset
from transformers import BaseImageProcessor, PreTrainedModel

from hfseg.config.data import DatasetArguments
from hfseg.config.evaluation import EvaluationArguments, PredictionArguments
from hfseg.config.parser import suggest
from hfseg.config.resolve import resolve
from hfseg.config.values import GivenOptions, OptionValues
from hfseg.data import load_dataset
from hfseg.data.image_io import ImageLike
from hfseg.errors import UserError
from hfseg.inference import Segmentation, Segmenter
from hfseg.labels import LabelNames, LabelSet
from hfseg.workflows.evaluate import EvaluationResult, evaluate_model
from hfseg.workflows.finetune import finetune as finetune_workflow
from hfseg.workflows.predict_files import predict as predict_into
from hfseg.workflows.run import Run

DatasetLike: TypeAlias = str | Path | datasets.DatasetDict | Dataset | Mapping[str, Dataset]
_Group = TypeVar("_Group", DatasetArguments, EvaluationArguments, PredictionArguments)


def finetune(
    *,
    model: str | Path | PreTrainedModel | None = None,
    dataset: DatasetLike | None = None,
    labels: LabelNames | None = None,
    image_processor: BaseImageProcessor | None = None,
    **options: Any,
) -> Run:
    """Fine-tune a model: what `hfseg finetune` does, as one call.

    Args:
        model: a name, Hub id or folder (`model_name_or_path`), or a model object with
            `image_processor`.
        dataset: a name (`dataset_name`), a `datasets.DatasetDict` with the columns `image` and
            `label`, or a torch dataset of (image, mask) or one per split, with `labels`.
        labels: the classes of a dataset object: a `LabelSet` (names and colors), a list of names
            in id order, or a dictionary by mask value.
        image_processor: makes `pixel_values`, for a model object.
        options: any flag of `hfseg finetune` by its name: `num_train_epochs=20`,
            `dataset_path="my-data"`, `config="voc-unet-resnet34"`, ...

    Returns:
        The run: `run.scores["mean_iou"]`, `run.segmenter("photo.jpg")`, `run.push_to_hub(...)`.

    Raises:
        UserError: invalid options, data or weights; nothing is written.
    """
    data = _dataset_option(dataset, labels, options)
    given_model = None
    if model is not None and not isinstance(model, str | Path):
        if image_processor is None:
            raise UserError("a model object needs its image processor; give it as image_processor=")
        given_model = (model, image_processor)
        model = getattr(model.config, "name_or_path", "") or model.config.model_type
    if model is not None:
        options["model_name_or_path"] = str(model)
    given = {"dataset": data, "model": given_model}
    arguments = resolve(
        options,
        command=["hfseg.finetune", *_words(options)],
        objects=tuple(name for name, value in given.items() if value is not None),
    )
    return finetune_workflow(arguments, data, given_model)


def evaluate(
    model: str | Path | Segmenter,
    dataset: DatasetLike | None = None,
    *,
    labels: LabelNames | None = None,
    **options: Any,
) -> EvaluationResult:
    """Score a model on a labeled split: what `hfseg evaluate` does, as one call.

    Args:
        model: a folder or Hub id, or a `Segmenter`.
        dataset: as in `finetune`.
        labels: as in `finetune`.
        options: any flag of `hfseg evaluate` by its name: `split="test"`, `tta="flip"`, ...

    Returns:
        The scores: `result["mean_iou"]`, `result.per_class`, `result.output_dir`.

    Raises:
        UserError: an invalid model, split or option; nothing is written.
    """
    data = _dataset_option(dataset, labels, options)
    names = {item.name for item in dataclasses.fields(DatasetArguments)}
    about_data = {key: options.pop(key) for key in names & options.keys()}
    segmenter = model if isinstance(model, Segmenter) else None
    name = "model" if segmenter is not None else str(model)
    arguments = _made(EvaluationArguments, {"model_name_or_path": name, **options})
    return evaluate_model(arguments, _made(DatasetArguments, about_data), data, segmenter)


def predict(
    model: str | Path | Segmenter,
    images: ImageLike | Iterable[ImageLike],
    output_dir: str | Path | None = None,
    **options: Any,
) -> list[Segmentation] | int:
    """Segment images: what `hfseg predict` does, as one call.

    Args:
        model: a folder or Hub id, or a `Segmenter`.
        images: a path, URL, PIL image, array or folder, or several of them.
        output_dir: write masks and overlays there instead of returning them.
        options: any flag of `hfseg predict` by its name: `sliding_window=1024`, `tta="flip"`, ...

    Returns:
        The segmentations, or with `output_dir` the number of masks in it.

    Raises:
        UserError: an invalid model, image or option.
    """
    overwrite = bool(options.pop("overwrite", False))
    name = "model" if isinstance(model, Segmenter) else str(model)
    arguments = _made(PredictionArguments, {"model_name_or_path": name, **options})
    if output_dir is not None:
        if isinstance(model, Segmenter):
            raise UserError("with output_dir, give the model's folder or Hub id, not a Segmenter")
        if isinstance(images, Image.Image):
            raise UserError("with output_dir, give paths of images, not an image in memory")
        inputs = [images] if isinstance(images, str | Path) else images
        return predict_into(arguments, [str(each) for each in inputs], str(output_dir), overwrite)
    if isinstance(model, Segmenter):
        segmenter = model
    else:
        segmenter = Segmenter.from_pretrained(
            name, trust_remote_code=arguments.trust_remote_code, dtype=arguments.dtype
        )
    found = segmenter(
        images, sliding_window=arguments.sliding_window, stride=arguments.stride, tta=arguments.tta
    )
    return [found] if isinstance(found, Segmentation) else list(found)


def _dataset_option(
    dataset: DatasetLike | None, labels: LabelNames | None, options: OptionValues
) -> tuple[datasets.DatasetDict, LabelSet] | None:
    """Read a dataset object; put the name of a dataset into the options."""
    if dataset is None:
        return None
    if isinstance(dataset, str | Path):
        options["dataset_name"] = str(dataset)
        return None
    names = ("train_val_test_split", "split_seed", "split_by", "image_column", "label_column",
             "label_map", "id2label", "on_bad_sample")  # fmt: skip
    reading = {key: options[key] for key in names if key in options}
    return load_dataset(dataset, labels=labels, **reading)


def _made(group: type[_Group], values: GivenOptions) -> _Group:
    known = {item.name for item in dataclasses.fields(group) if item.init}
    unknown = sorted(values.keys() - known)
    if unknown:
        raise UserError(f"{unknown[0]!r} is not an option; {suggest(unknown[0], known)}")
    return group(**values)


def _words(options: GivenOptions) -> Iterable[str]:
    return (f"{key}={value!r}" for key, value in options.items())
