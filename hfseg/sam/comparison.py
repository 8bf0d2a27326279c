"""The job of `scripts/compare_sam.py`: a semantic model beside SAM on a labelled split."""

import csv
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hfseg.data.samples import EvaluationSamples
from hfseg.errors import UserError
from hfseg.evaluation.job import load_split, results_folder, set_image_size
from hfseg.evaluation.label_map import prediction_table
from hfseg.evaluation.report import RESULTS
from hfseg.inference.images import read_ahead
from hfseg.inference.segmenter import Options, Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.report.sam_comparison import (
    CLASS_AWARENESS,
    PLUMBING,
    Row,
    boundary_changes,
    markdown_table,
    picture_of_masks,
    plot_sam_image,
    terminal_table,
)
from hfseg.sam.checkpoint import is_untrained
from hfseg.sam.masks import SamMasks
from hfseg.sam.measuring import Meter
from hfseg.sam.predictor import SamPredictor
from hfseg.sam.refinement import oracle, outlined, refine_by_votes
from hfseg.sam.regions import MAX_PROMPTS, check_kind, mask_recall, regions
from hfseg.training.arguments import DataArguments


@dataclass(frozen=True)
class _Way:
    name: str
    title: str
    classes_from: str
    steps: tuple[str, ...]
    networks: tuple[str, ...]


_WAYS = (
    _Way("model", "the model", "model", ("predict",), ("model",)),
    _Way(
        "oracle",
        "SAM oracle (upper bound)",
        "truth",
        ("embed", "everything", "oracle"),
        ("sam",),
    ),
    _Way(
        "prompted",
        "SAM prompted by the model",
        "model",
        ("predict", "embed", "prompt"),
        ("model", "sam"),
    ),
    _Way(
        "voted",
        "SAM's masks, the model votes",
        "model",
        ("predict", "embed", "everything", "vote"),
        ("model", "sam"),
    ),
)


@dataclass
class Comparing:
    """What a comparison is told beside its data."""

    model_name_or_path: str
    sam: str
    split: str = "validation"
    prompts: str = "boxes"
    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    num_figures: int = 6
    dtype: str = "fp32"
    label_map: str | None = None
    trust_remote_code: bool = False
    output_dir: str | None = None
    overwrite_output_dir: bool = False

    @property
    def everything(self) -> dict[str, Any]:
        """What `SamPredictor.segment_everything` is told."""
        names = ("points_per_side", "points_per_batch", "pred_iou_thresh", "stability_score_thresh")
        return {name: getattr(self, name) for name in names}


@dataclass
class Comparison:
    """What was measured.

    Attributes:
        rows: the four ways.
        scores: way -> its counts.
        num_masks: sample index -> how many masks SAM has of everything.
    """

    rows: list[Row]
    scores: dict[str, SplitScores]
    num_masks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Seen:
    """One image in all ways, for a figure.

    Attributes:
        image: RGB.
        truth: (H, W) true ids.
        everything: SAM's masks.
        predictions: way -> (H, W) ids of the data set.
    """

    index: int
    image: Image.Image
    truth: np.ndarray
    everything: SamMasks
    predictions: dict[str, np.ndarray]


def compare_sam(wanted: Comparing, data: DataArguments) -> dict[str, Any]:
    """Score the four ways, print and write.

    Returns:
        What results.json holds.

    Raises:
        UserError: a wrong model, SAM, split, label map or option; nothing is written then.
    """
    check_kind(wanted.prompts)
    if wanted.num_figures < 0:
        raise UserError("--num_figures must be at least 0")
    if wanted.points_per_side < 1 or wanted.points_per_batch < 1:
        raise UserError("--points_per_side and --points_per_batch must be at least 1")
    if data.eval_at_image_size:
        raise UserError(
            "--eval_at_image_size: SAM's outlines are compared at the label's own size; leave it "
            "out"
        )
    parts = (wanted.model_name_or_path, wanted.sam, data.dataset_name, wanted.split)
    folder = results_folder("compare_sam", parts, wanted.output_dir, wanted.overwrite_output_dir)
    rows, labels = load_split(wanted.split, data)
    segmenter = Segmenter.from_pretrained(
        wanted.model_name_or_path,
        trust_remote_code=wanted.trust_remote_code,
        dtype=wanted.dtype,
    )
    set_image_size(segmenter, data)
    table = prediction_table(segmenter.labels, labels, wanted.label_map)
    predictor = SamPredictor.from_pretrained(wanted.sam, dtype=wanted.dtype)
    untrained = is_untrained(predictor.model)

    chosen = np.linspace(0, len(rows) - 1, min(wanted.num_figures, len(rows))).round()
    shown = set(chosen.astype(int).tolist())
    figures: list[str] = []

    def show(seen: Seen) -> None:
        path = folder / "figures" / f"image-{seen.index:05d}.png"
        _draw(seen, labels, path, PLUMBING if untrained else "")
        figures.append(f"figures/{path.name}")

    with _progress(len(rows)) as bar:
        found = compare(
            segmenter,
            predictor,
            rows,
            labels,
            table,
            prompts=wanted.prompts,
            everything=wanted.everything,
            show=lambda seen: show(seen) if seen.index in shown else None,
            done=bar.update,
        )
    results = _results(wanted, data, found, untrained, figures)
    _write(folder, results, found)
    if untrained:
        print(PLUMBING)
    print(terminal_table(found.rows))
    for sentence in boundary_changes(found.rows):
        print(sentence)
    print(CLASS_AWARENESS)
    print(f"mean_iou {found.rows[0].scores['mean_iou'] or 0:.4f}  {folder}", flush=True)
    return results


def compare(
    segmenter: Any,
    predictor: Any,
    data: Any,
    labels: LabelSet,
    table: np.ndarray,
    *,
    prompts: str = "boxes",
    everything: dict[str, Any] | None = None,
    show: Callable[[Seen], Any] = lambda seen: None,
    done: Callable[[], Any] = lambda: None,
) -> Comparison:
    """Segment every image in the four ways, and score at the label's own size.

    Args:
        segmenter: the model, a `Segmenter`.
        predictor: a `SamPredictor`.
        data: columns `image` and `label`.
        labels: those of the data.
        table: predicted id -> id of the data (`prediction_table`).
        prompts: what SAM is told of a predicted region (`prompts_from_mask`).
        everything: options of `SamPredictor.segment_everything`.
        show: called with each image.
        done: called after each image.
    """
    samples = EvaluationSamples(data)
    device = torch.device(segmenter.model.device)
    meter = Meter(device)
    scores = {way.name: SplitScores(labels) for way in _WAYS}
    recall = {way.name: np.zeros(2, dtype=np.int64) for way in _WAYS}
    found = Comparison([], scores)
    options = Options()
    for index, waiting in read_ahead(range(len(samples)), samples.__getitem__):
        sample = waiting()
        truth = sample["label"]
        image = Image.fromarray(sample["image"])
        with meter.step("predict"):
            own = segmenter.segment(image, options, size=truth.shape).mask
        if image.size != truth.shape[::-1]:
            # SAM's masks have the size of the image it is given, and are joined with the labels'
            image = image.resize(truth.shape[::-1], Image.Resampling.BILINEAR)
        with meter.step("embed"):
            predictor.embed(image)
        with meter.step("everything"):
            masks = predictor.segment_everything(image, **(everything or {}))
        with meter.step("oracle"):
            named = oracle(masks, truth, labels.ignore_index)
        with meter.step("prompt"):
            asked = regions(own, len(segmenter.labels))[:MAX_PROMPTS]
            answers = predictor.prompt_each(image, [region.prompt(prompts) for region in asked])
            prompted = outlined(asked, answers, own)
        with meter.step("vote"):
            voted = refine_by_votes(masks, own)
        predictions = {
            "model": table[own],
            "oracle": np.where(named == labels.ignore_index, len(labels), named),
            "prompted": table[prompted],
            "voted": table[voted],
        }
        proposals = {
            "model": _region_masks(predictions["model"], labels),
            "oracle": masks.masks,
            "prompted": answers.masks,
            "voted": _region_masks(predictions["voted"], labels),
        }
        target = torch.from_numpy(truth.astype(np.int64)).to(device)
        for name, prediction in predictions.items():
            prediction = prediction.astype(np.int64)
            scores[name].add(index, torch.from_numpy(prediction).to(device), target)
            recall[name] += mask_recall(proposals[name], truth, labels)
        found.num_masks[index] = len(masks)
        show(Seen(index, image, truth, masks, predictions))
        done()
    parameters = {"model": _parameters(segmenter.model), "sam": _parameters(predictor.model)}
    for way in _WAYS:
        values = scores[way.name].compute()
        numbers = {
            key: _number(values[key])
            for key in ("mean_iou", "mean_boundary_iou", "mean_boundary_f")
        }
        hit, expected = recall[way.name].tolist()
        found.rows.append(
            Row(
                way.title,
                way.classes_from,
                {**numbers, "mask_recall": hit / expected if expected else None},
                sum(meter.seconds[step] for step in way.steps) / len(samples),
                meter.peak_gib(way.steps),
                sum(parameters[name] for name in way.networks) / 1e6,
            )
        )
    return found


def _region_masks(prediction: np.ndarray, labels: LabelSet) -> Any:
    return (region.mask(prediction.shape) for region in regions(prediction, len(labels)))


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _results(
    wanted: Comparing,
    data: DataArguments,
    found: Comparison,
    untrained: bool,
    figures: list[str],
) -> dict[str, Any]:
    from hfseg.report.redaction import redacted

    count = len(found.num_masks)
    return {
        "model": redacted(wanted.model_name_or_path),
        "sam": redacted(wanted.sam),
        "sam_is_untrained": untrained,
        "dataset": redacted(str(data.dataset_name)),
        "split": wanted.split,
        "num_images": count,
        "image_size": data.image_size,
        "prompts": wanted.prompts,
        **wanted.everything,
        "dtype": wanted.dtype,
        "device": _device_name(),
        "masks_per_image": sum(found.num_masks.values()) / count,
        "ways": {
            way.name: {
                "name": row.name,
                "classes_from": row.classes_from,
                **row.scores,
                "seconds_per_image": row.seconds,
                "peak_memory_gib": row.peak_gib,
                "million_parameters": row.million_parameters,
                "per_category_iou": {
                    name: _number(value)
                    for name, value in zip(
                        found.scores[way.name].labels.names,
                        found.scores[way.name].compute()["per_category_iou"],
                        strict=True,
                    )
                },
            }
            for way, row in zip(_WAYS, found.rows, strict=True)
        },
        "figures": figures,
    }


def _write(folder: Path, results: dict[str, Any], found: Comparison) -> None:
    """comparison.csv, images.csv, results.md and, when all is there, results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, (name, way) in enumerate(results["ways"].items()):
            values = {key: value for key, value in way.items() if key != "per_category_iou"}
            if number == 0:
                writer.writerow(["way", *values, "sam_is_untrained"])
            writer.writerow([name, *values.values(), results["sam_is_untrained"]])
    per_image = {name: scores.image_scores() for name, scores in found.scores.items()}
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "masks", *(f"mean_iou_{name}" for name in per_image)])
        for index, count in sorted(found.num_masks.items()):
            values = [f"{scores[index]:.6f}" for scores in per_image.values()]
            writer.writerow([index, count, *values])
    (folder / "results.md").write_text(_markdown(results, found), encoding="utf-8")
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")


def _markdown(results: dict[str, Any], found: Comparison) -> str:
    lines = [
        f"# {results['model']} beside {results['sam']} on {results['dataset']}, {results['split']}",
        "",
    ]
    if results["sam_is_untrained"]:
        lines += [f"**{PLUMBING}**", ""]
    lines += [
        markdown_table(found.rows),
        "",
        *(f"{sentence}.  " for sentence in boundary_changes(found.rows)),
        "",
        CLASS_AWARENESS,
        "",
        f"{results['num_images']} images, scored at the label's own size. SAM: "
        f"{results['points_per_side']} x {results['points_per_side']} points, predicted IoU above "
        f"{results['pred_iou_thresh']}, stability above {results['stability_score_thresh']}, "
        f"{results['masks_per_image']:.1f} masks an image; prompts: {results['prompts']}. Seconds "
        f"and memory on {results['device']}, {results['dtype']}; one image at a time, both models "
        "loaded all the time.",
    ]
    for path in results["figures"]:
        lines += ["", f"![photo, truth, SAM's masks, the four ways and their errors]({path})"]
    return "\n".join(lines) + "\n"


def _draw(seen: Seen, labels: LabelSet, path: Path, note: str) -> None:
    titles = {
        "model": "model",
        "oracle": "SAM oracle (upper bound)",
        "prompted": "SAM prompted by the model",
        "voted": "SAM voted by the model",
    }
    shown = []
    for name, title in titles.items():
        scores = SplitScores(labels, boundaries=False)
        prediction = torch.from_numpy(seen.predictions[name].astype(np.int64))
        scores.add(0, prediction, torch.from_numpy(seen.truth.astype(np.int64)))
        value = scores.image_scores()[0]
        said = "" if math.isnan(value) else f", mIoU {value:.2f}"
        shown.append((title + said, seen.predictions[name]))
    plot_sam_image(
        seen.image,
        seen.truth,
        picture_of_masks(seen.image, seen.everything.masks),
        len(seen.everything),
        shown,
        labels,
        path,
        f"image {seen.index}. {note}",
    )


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def _progress(total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="image", disable=not sys.stderr.isatty())


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
