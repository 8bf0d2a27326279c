"""The job of `scripts/compare_sam.py`: a semantic model beside SAM on a labelled split."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import SamArguments
from hfseg.data.image_io import read_ahead
from hfseg.data.samples import EvaluationSamples
from hfseg.errors import UserError
from hfseg.evaluation.class_map import prediction_table
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.progress import Progress
from hfseg.sam.load_sam import is_untrained
from hfseg.sam.measuring import Meter
from hfseg.sam.predictor import SamPredictor
from hfseg.sam.refinement import oracle, outlined, refine_by_votes
from hfseg.sam.regions import MAX_PROMPTS, mask_recall, regions
from hfseg.visualization.sam_figures import (
    CLASS_AWARENESS,
    PLUMBING,
    Row,
    boundary_changes,
    terminal_table,
)
from hfseg.workflows.evaluate import load_split, results_folder, set_image_size
from hfseg.workflows.sam_results import (
    SCORES,
    WAYS,
    Comparison,
    Seen,
    draw_image,
    number_or_none,
    results_of,
    write_results,
)


def compare_sam(wanted: SamArguments, data: DataArguments) -> dict[str, Any]:
    """Score the four ways, print and write.

    Returns:
        What results.json holds.

    Raises:
        UserError: a wrong model, SAM, split, label map or option; nothing is written then.
    """
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
    table = prediction_table(segmenter.labels, labels, wanted.class_map)
    predictor = SamPredictor.from_pretrained(wanted.sam, dtype=wanted.dtype)
    untrained = is_untrained(predictor.model)

    chosen = np.linspace(0, len(rows) - 1, min(wanted.num_figures, len(rows))).round()
    shown = set(chosen.astype(int).tolist())
    figures: list[str] = []

    def show(seen: Seen) -> None:
        path = folder / "figures" / f"image-{seen.index:05d}.png"
        draw_image(seen, labels, path, PLUMBING if untrained else "")
        figures.append(f"figures/{path.name}")

    with Progress(len(rows), "comparing") as bar:
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
    results = results_of(wanted, data, found, untrained, figures)
    write_results(folder, results, found)
    if untrained:
        print(PLUMBING)
    print(terminal_table(found.rows, SCORES))
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
    scores = {way.name: SplitScores(labels) for way in WAYS}
    recall = {way.name: np.zeros(2, dtype=np.int64) for way in WAYS}
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
    for way in WAYS:
        values = scores[way.name].compute()
        numbers = {key: number_or_none(values[key]) for key in SCORES if key in values}
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
