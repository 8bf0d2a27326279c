"""The parts of `label_experiments.py`: each measures one seed, through the package's own calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from label_damage import KINDS, damaged_masks
from PIL import Image

from hfseg import LabelSet, Segmenter, UserError, load_dataset
from hfseg.config.autolabel import AutolabelArguments
from hfseg.config.data import DataArguments
from hfseg.config.resolve import resolve
from hfseg.config.run_recipe import RECIPE_FILE
from hfseg.data.samples import read_example
from hfseg.evaluation.calibration import calibrate
from hfseg.evaluation.class_map import prediction_table
from hfseg.evaluation.label_quality import JudgedImage
from hfseg.evaluation.scoring import score_split
from hfseg.evaluation.teacher import Teacher
from hfseg.inference.result import Options
from hfseg.metrics.calibration import expected_calibration_error
from hfseg.models.confidence import set_temperature
from hfseg.workflows.autolabel import autolabel
from hfseg.workflows.evaluate import load_split
from hfseg.workflows.find_label_errors import find_label_errors
from hfseg.workflows.finetune import finetune

Result = dict[str, Any]
DAMAGED = 0.1


@dataclass(frozen=True)
class Experiment:
    """One seed of it.

    Attributes:
        options: of training.
        own: the flags of this script.
        folder: of what is made on the way.
    """

    options: Result
    own: Result
    seed: int
    folder: Path

    def data(self) -> tuple[datasets.DatasetDict, LabelSet]:
        """As many images as the flags say: of training drawn by the seed, else the first ones."""
        data, labels = load_dataset(self.options["dataset_name"], self.options.get("dataset_path"))
        order = np.random.default_rng(self.seed).permutation(len(data["train"]))
        data["train"] = data["train"].select(order[: self.own["images"]])
        for split in data.keys() - {"train"}:
            count = min(self.own[f"{split}_images"], len(data[split]))
            data[split] = data[split].select(range(count))
        return data, labels

    def trained(self, name: str, kept: Sequence[int], **options: Any) -> float:
        """Test mIoU of a model trained on these training images; `model(name)` is its folder."""
        data, labels = self.data()
        data["train"] = data["train"].select(kept)
        given = {**self.options, **options, "seed": self.seed, "output_dir": str(self.model(name))}
        if (self.model(name) / RECIPE_FILE).is_file():
            given["resume_from_checkpoint"] = True
        run = finetune(resolve(given), (data, labels))
        return float((run.test_scores or run.scores)["mean_iou"])

    def model(self, name: str) -> Path:
        return self.folder / name

    def image_files(self) -> list[Path]:
        """The training images without their masks."""
        rows = self.data()[0]["train"]
        files = [self.folder / "photos" / f"{index:04d}.png" for index in range(len(rows))]
        files[0].parent.mkdir(parents=True, exist_ok=True)
        for index, file in enumerate(files):
            if not file.is_file():
                Image.fromarray(read_example(rows, index)[0]).save(file)
        return files


# ---- wrong labels ----


def errors(experiment: Experiment) -> Result:
    """By method and kind of damage: precision and area under the precision-recall curve."""
    data, labels = experiment.data()
    rows = data["train"]
    if round(DAMAGED * len(rows)) < len(KINDS):
        raise UserError(f"--images {len(rows)}: give more, so that every kind of damage occurs")
    images, masks = map(list, zip(*(read_example(rows, i) for i in range(len(rows))), strict=True))
    rng = np.random.default_rng(experiment.seed)
    masks, kinds = damaged_masks(masks, DAMAGED, labels, rng)
    pairs = list(zip(images, masks, strict=True))
    last = 3 * len(pairs) // 4  # all splits are judged
    parts = {"train": pairs[:last], "validation": pairs[last:]}
    options = {**experiment.options, "seed": experiment.seed}
    options["output_dir"] = str(experiment.model("errors"))
    dataset = load_dataset(parts, labels=labels)
    judged = find_label_errors(options, experiment.own["folds"], dataset).images
    kind_of = np.array([kinds[image.index] for image in judged])
    random = [[float(each) for each in rng.random(len(judged))] for _ in range(200)]
    methods = {
        "softmin": [[-image.score for image in judged]],
        "loss": [[image.loss for image in judged]],
        "regions": [[_suspicious_area(image) for image in judged]],
        "random": random,
    }
    result: Result = {name: {} for name in methods}
    for kind in ("all", *KINDS):
        counted = np.ones(len(judged), bool) if kind == "all" else np.isin(kind_of, ("", kind))
        wrong = kind_of[counted] != ""
        for name, scores in methods.items():
            found = [ranking_quality(np.array(each)[counted], wrong) for each in scores]
            result[name][kind] = np.mean(found, axis=0).tolist()
    return result


def _suspicious_area(image: JudgedImage) -> float:
    return sum(suspect.pixels * (1 - suspect.score) for suspect in image.suspects)


def ranking_quality(scores: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Precision among as many of the first as there are wrong ones, and the average precision."""
    hits = wrong[np.argsort(-scores, kind="stable")]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float(hits[: wrong.sum()].mean()), float(precision[hits].mean())


# ---- a model's labels ----


def student(experiment: Experiment) -> Result:
    """Test mIoU with a quarter of the labels, with the model's for the rest, and with all."""
    count = len(experiment.data()[0]["train"])
    quarter = list(range(count // 4))
    scores = {"quarter": experiment.trained("quarter", quarter)}
    own, options = experiment.own, experiment.options
    rest = experiment.image_files()[count // 4 :]
    more = experiment.folder / "more"
    autolabel(
        AutolabelArguments(
            model_name_or_path=str(experiment.model("quarter")), precision=own["precision"]
        ),
        DataArguments(
            dataset_name=options["dataset_name"],
            dataset_path=options.get("dataset_path"),
            max_eval_samples=own["validation_images"],
        ),
        [str(file) for file in rest],
        str(more),
    )
    scores["student"] = experiment.trained("student", quarter, extra_dataset_path=str(more))
    scores["all"] = experiment.trained("all", range(count))
    return {**scores, **_label_quality(experiment, more)}


def _label_quality(experiment: Experiment, folder: Path) -> Result:
    """Of the model's labels: which fraction of the pixels has one, and of these which is right."""
    data, labels = experiment.data()
    labeled = right = pixels = 0
    for file in sorted((folder / "masks").glob("*.png")):
        truth = read_example(data["train"], int(file.stem))[1]
        with Image.open(file) as image:
            mask = np.asarray(image)
        known = truth != labels.ignore_index
        kept = known & (mask != labels.ignore_index)
        pixels, labeled = pixels + known.sum(), labeled + kept.sum()
        right += (mask == truth)[kept].sum()
    return {"labeled": float(labeled / pixels), "right": float(right / max(labeled, 1))}


# ---- calibration ----


def calibration(experiment: Experiment) -> Result:
    """Calibration error without and with the temperature, and the precision that autolabel has."""
    own = experiment.own
    if not (own["voc_path"] and own["voc_model"]):
        raise UserError("--parts calibration needs --voc_path and --voc_model")
    rows, labels = load_split("validation", DataArguments("voc", own["voc_path"]))
    order = np.random.default_rng(experiment.seed).permutation(min(len(rows), own["voc_images"]))
    fitted_on, measured_on = (rows.select(half) for half in np.array_split(order, 2))
    segmenter = Segmenter.from_pretrained(own["voc_model"])
    table = prediction_table(segmenter.labels, labels)
    temperature = calibrate(segmenter, fitted_on, labels, table).temperature
    how = Options(confidence=True)
    scores = {}
    for name, value in (("before", 1.0), ("after", temperature)):
        set_temperature(segmenter.model, value)
        scores[name] = score_split(segmenter, measured_on, labels, table, how)
    teacher = Teacher([segmenter])
    least = teacher.require_precision(own["precision"], fitted_on, table, how)
    labeled = right = pixels = 0
    for index in range(len(measured_on)):
        image, truth = read_example(measured_on, index)
        mask = teacher.segment(Image.fromarray(image), how, truth.shape).mask
        known = truth != labels.ignore_index
        kept = known & (mask != segmenter.labels.ignore_index)
        pixels, labeled = pixels + known.sum(), labeled + kept.sum()
        right += (table[mask] == truth)[kept].sum()
    errors = {name: expected_calibration_error(each.calibration) for name, each in scores.items()}
    same = np.array_equal(scores["before"].confusion, scores["after"].confusion)
    return {
        **errors, "temperature": temperature, "masks unchanged": float(same),
        "min_confidence": least, "labeled": float(labeled / pixels),
        "right": float(right / max(labeled, 1)),
    }  # fmt: skip
