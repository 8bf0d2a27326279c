"""`hfseg find-label-errors`: out-of-fold predictions -> suspicious images and regions.

    OUTPUT/label_errors.csv     regions, the most suspicious first
    OUTPUT/images.csv           images, the most suspicious first
    OUTPUT/label_errors.html    the regions as given | predicted | photo
    OUTPUT/suggestions/         images/ and masks/ with the model's class in every such region
    OUTPUT/folds/               the runs and what they predicted

Every image is judged by a model that has not seen it. What is done is kept, so that the same
command continues where it stopped.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hfseg.config.resolve import resolve
from hfseg.config.run_recipe import RECIPE_FILE
from hfseg.data.extra import EXTRA
from hfseg.data.folds import belonging, fold_numbers
from hfseg.data.rows import file_names, sample_names
from hfseg.data.samples import read_example
from hfseg.disk import write_text
from hfseg.errors import UserError
from hfseg.evaluation.label_quality import (
    JudgedImage,
    mean_loss,
    self_confidence,
    softmin,
    suspects,
)
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.progress import track
from hfseg.visualization.overlay import index_png
from hfseg.workflows.assemble import load_data
from hfseg.workflows.finetune import finetune
from hfseg.workflows.label_errors_report import LabelErrors, write_label_errors


class Pool:
    """The images of all splits in one sequence.

    Attributes:
        rows: columns `image` and `label`.
        splits, names: of each image; the names are unique.
        files: where each lies, relative to what all have in common; or the names.
    """

    def __init__(self, data: datasets.DatasetDict) -> None:
        self.rows = datasets.concatenate_datasets(list(data.values()))
        self.splits = [split for split, rows in data.items() for _ in range(len(rows))]
        self.names = [name for split in data for name in sample_names(data[split], split)]
        if len(set(self.names)) < len(self.names):
            self.names = [
                f"{split}/{name}" for split, name in zip(self.splits, self.names, strict=True)
            ]
        files = file_names(self.rows) or []
        self.files = self.names
        if len(set(files)) == len(self.names):
            root = os.path.commonpath(files)
            self.files = [Path(os.path.relpath(file, root)).as_posix() for file in files]


def find_label_errors(
    options: Mapping[str, Any],
    folds: int = 4,
    dataset: tuple[datasets.DatasetDict, LabelSet] | None = None,
) -> LabelErrors:
    """Train `folds` models, each without one fold, and let each judge the labels of that fold.

    Args:
        options: as for `hfseg.finetune`; `output_dir` is `runs/NAME-label-errors` if left out.
        folds: how many; samples that belong together are in one.
        dataset: splits and labels, in place of the options' dataset. All splits are judged.

    Raises:
        UserError: wrong options or data, or results of other data in the folder.
    """
    arguments = resolve(options)
    output = Path(options.get("output_dir") or f"{arguments.training.output_dir}-label-errors")
    if arguments.training.world_size > 1:
        raise UserError("find-label-errors runs in one process: start it without a launcher")
    if arguments.data.streaming or arguments.training.push_to_hub:
        raise UserError(
            "find-label-errors does not work with --streaming or --push_to_hub; leave them out"
        )
    data, labels = load_data(arguments, dataset)
    data.pop(EXTRA, None)  # each run reads it again
    pool = Pool(data)
    by = belonging(pool.files, arguments.data.dataset_name, arguments.data.split_by)
    numbers = np.asarray(fold_numbers(pool.files, folds, by, arguments.data.split_seed))
    judged: list[JudgedImage] = []
    for fold in range(folds):
        judged += _judged_fold(options, pool, labels, numbers, fold, output)
    judged.sort(key=lambda image: (image.score, -image.loss))
    found = LabelErrors(judged, labels, output)
    write_label_errors(found, pool.rows)
    return found


def _judged_fold(
    options: Mapping[str, Any],
    pool: Pool,
    labels: LabelSet,
    numbers: np.ndarray,
    fold: int,
    output: Path,
) -> list[JudgedImage]:
    """The images of a fold, read back if they were judged before."""
    name = f"{fold + 1}-of-{numbers.max() + 1}"
    results = output / "folds" / f"{name}.json"
    held_out = np.flatnonzero(numbers == fold).tolist()
    if results.is_file():
        judged = [JudgedImage.from_dict(each) for each in json.loads(results.read_text("utf-8"))]
        if [image.name for image in judged] != [pool.names[index] for index in held_out]:
            raise UserError(
                f"{output} contains results for other images; give another --output_dir"
            )
        return judged
    folder = output / "folds" / name
    print(f"fold {fold + 1}: {len(numbers) - len(held_out)} images train the model that judges "
          f"{len(held_out)}", flush=True)  # fmt: skip
    _train(options, folder, pool, labels, np.flatnonzero(numbers != fold).tolist(), held_out)
    judged = _judge(Segmenter.from_pretrained(folder), pool, labels, held_out, output)
    text = json.dumps([asdict(image) for image in judged], indent=1)
    write_text(results, text + "\n")
    return judged


def _train(
    options: Mapping[str, Any],
    folder: Path,
    pool: Pool,
    labels: LabelSet,
    kept: Sequence[int],
    held_out: Sequence[int],
) -> None:
    """The last checkpoint is kept: to choose the best one, the labels in question would be used."""
    changed: dict[str, Any] = {"output_dir": str(folder), "eval_strategy": "no"}
    if (folder / RECIPE_FILE).is_file():
        changed["resume_from_checkpoint"] = True
    parts = {"train": pool.rows.select(kept), "validation": pool.rows.select(held_out)}
    finetune(resolve({**options, **changed}), (datasets.DatasetDict(parts), labels))


def _judge(
    segmenter: Segmenter, pool: Pool, labels: LabelSet, held_out: Sequence[int], output: Path
) -> list[JudgedImage]:
    """Scores and regions; the predictions are kept as masks."""
    masks = output / "folds" / "predictions"
    masks.mkdir(parents=True, exist_ok=True)
    judged = []
    for index in track(held_out, "judging"):
        image, label = read_example(pool.rows, index)
        found = segmenter.segment(
            Image.fromarray(image), Options(probabilities=True), size=label.shape
        )
        assert found.probabilities is not None
        confidence = self_confidence(found.probabilities, label)
        judged.append(
            JudgedImage(
                name=pool.names[index],
                split=pool.splits[index],
                index=index,
                score=softmin(confidence),
                loss=mean_loss(confidence),
                suspects=suspects(found.probabilities, label),
            )
        )
        index_png(found.mask, labels).save(masks / f"{judged[-1].stem}.png")
    return judged
