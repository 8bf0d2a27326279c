"""`hfseg compare-sam`: a semantic model compared with SAM on a labeled split."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import SamArguments
from hfseg.data.image_io import read_ahead
from hfseg.data.rows import sample_names
from hfseg.data.samples import EvaluationSamples
from hfseg.errors import UserError
from hfseg.evaluation.class_map import prediction_table
from hfseg.inference.result import Options
from hfseg.inference.segmenter import DTYPES, Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.progress import Progress
from hfseg.sam.class_prompter import ClassPrompter, read_class_prompts
from hfseg.sam.load_sam import is_untrained
from hfseg.sam.measuring import Meter
from hfseg.sam.predictor import SamPredictor
from hfseg.sam.refinement import oracle, refine_by_votes, with_sam_boundaries
from hfseg.sam.regions import MAX_PROMPTS, mask_recall, regions
from hfseg.visualization.sam_figures import (
    CLASS_AWARENESS,
    CLASS_NAMES,
    UNTRAINED,
    Row,
    boundary_changes,
    method_table,
)
from hfseg.visualization.tables import terminal_table
from hfseg.workflows.evaluate import load_split, results_folder, set_image_size
from hfseg.workflows.sam_results import (
    METHODS,
    SAM3_METHODS,
    SCORES,
    Comparison,
    Seen,
    draw_image,
    number_or_none,
    results_of,
    write_results,
)


def compare_sam(options: SamArguments, data: DataArguments) -> dict[str, Any]:
    """Score the four methods, print the table and write the results.

    Returns:
        The content of results.json.

    Raises:
        UserError: an invalid model, SAM, split, class map or option; nothing is written.
    """
    if data.eval_at_image_size:
        raise UserError(
            "--eval_at_image_size: SAM is compared at the label's own size; leave the flag out"
        )
    parts = (options.model_name_or_path, options.sam, data.dataset_name, options.split)
    folder = results_folder("compare_sam", parts, options.output_dir, options.overwrite_output_dir)
    rows, labels = load_split(options.split, data)
    segmenter = Segmenter.from_pretrained(
        options.model_name_or_path,
        trust_remote_code=options.trust_remote_code,
        dtype=options.dtype,
    )
    set_image_size(segmenter, data)
    table = prediction_table(segmenter.labels, labels, options.class_map)
    predictor = SamPredictor.from_pretrained(options.sam, dtype=options.dtype)
    prompter = None
    if options.sam3 is not None:
        file = options.class_prompts
        texts = read_class_prompts(file, labels) if file is not None else None
        prompter = ClassPrompter.from_pretrained(options.sam3, labels, texts, DTYPES[options.dtype])
    untrained = any(is_untrained(each.model) for each in (predictor, prompter) if each is not None)

    chosen = np.linspace(0, len(rows) - 1, min(options.num_figures, len(rows))).round()
    shown = set(chosen.astype(int).tolist())
    figures: list[str] = []

    def show(seen: Seen) -> None:
        path = folder / "figures" / f"image-{seen.index:05d}.png"
        draw_image(seen, labels, path, UNTRAINED if untrained else "")
        figures.append(f"figures/{path.name}")

    with Progress(len(rows), "comparing") as bar:
        found = compare(
            segmenter,
            predictor,
            rows,
            labels,
            table,
            prompts=options.prompts,
            everything=options.everything,
            prompter=prompter,
            show=lambda seen: show(seen) if seen.index in shown else None,
            done=bar.update,
        )
    results = results_of(options, data, found, untrained, figures)
    write_results(folder, results, found)
    if untrained:
        print(UNTRAINED)
    print(terminal_table(method_table(found.rows, SCORES), text_columns=2))
    for sentence in boundary_changes(found.rows):
        print(sentence)
    print(CLASS_AWARENESS)
    if prompter is not None:
        print(CLASS_NAMES)
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
    prompter: ClassPrompter | None = None,
    show: Callable[[Seen], Any] = lambda seen: None,
    done: Callable[[], Any] = lambda: None,
) -> Comparison:
    """Segment every image with every method, and score at the label's own size.

    Args:
        segmenter: the model, a `Segmenter`.
        predictor: a `SamPredictor`.
        data: columns `image` and `label`.
        labels: of the dataset.
        table: predicted id -> dataset id (`prediction_table`).
        prompts: kind of the prompts (`prompts_from_mask`).
        everything: options of `SamPredictor.segment_everything`.
        prompter: a SAM 3 that is prompted with the class names, for two more methods.
        show: called with each image.
        done: called after each image.
    """
    samples = EvaluationSamples(data)
    device = torch.device(segmenter.model.device)
    meter = Meter(device)
    methods = METHODS if prompter is None else (*METHODS, *SAM3_METHODS)
    scores = {method.name: SplitScores(labels) for method in methods}
    recall = {method.name: np.zeros(2, dtype=np.int64) for method in methods}
    names = sample_names(data, "evaluated")
    found = Comparison(methods, [], scores, names)
    plain = Options()
    for index, waiting in read_ahead(range(len(samples)), samples.__getitem__):
        sample = waiting()
        truth = sample["label"]
        image = Image.fromarray(sample["image"])
        with meter.step("predict"):
            predicted = segmenter.segment(image, plain, size=truth.shape).mask
        if image.size != truth.shape[::-1]:
            # SAM's masks have the size of its input, and are combined with the labels
            image = image.resize(truth.shape[::-1], Image.Resampling.BILINEAR)
        with meter.step("embed"):
            predictor.embed(image)
        with meter.step("everything"):
            masks = predictor.segment_everything(image, **(everything or {}))
        with meter.step("oracle"):
            named = oracle(masks, truth, labels.ignore_index)
        with meter.step("prompt"):
            targets = regions(predicted, len(segmenter.labels))[:MAX_PROMPTS]
            answers = predictor.prompt_each(image, [region.prompt(prompts) for region in targets])
            prompted = with_sam_boundaries(targets, answers, predicted)
        with meter.step("vote"):
            voted = refine_by_votes(masks, predicted)
        predictions = {
            "model": table[predicted],
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
        if prompter is not None:
            with meter.step("names"):
                by_name = prompter.segment(image)
            predictions["sam3_instances"] = by_name.instances
            predictions["sam3_semantic"] = by_name.semantic
            proposals["sam3_instances"] = by_name.masks
            proposals["sam3_semantic"] = _region_masks(by_name.semantic, labels)
        target = torch.from_numpy(truth.astype(np.int64)).to(device)
        for name, prediction in predictions.items():
            prediction = prediction.astype(np.int64)
            scores[name].add(index, torch.from_numpy(prediction).to(device), target)
            recall[name] += mask_recall(proposals[name], truth, labels)
        found.num_masks[index] = len(masks)
        show(Seen(index, names[index], image, truth, masks, predictions))
        done()
    parameters = {"model": _parameters(segmenter.model), "sam": _parameters(predictor.model)}
    if prompter is not None:
        parameters["sam3"] = _parameters(prompter.model)
    for method in methods:
        values = scores[method.name].compute()
        numbers = {key: number_or_none(values[key]) for key in SCORES if key in values}
        hit, expected = recall[method.name].tolist()
        found.rows.append(
            Row(
                method.title,
                method.classes_from,
                {**numbers, "mask_recall": hit / expected if expected else None},
                sum(meter.seconds[step] for step in method.steps) / len(samples),
                meter.peak_gib(method.steps),
                sum(parameters[name] for name in method.networks) / 1e6,
            )
        )
    return found


def _region_masks(prediction: np.ndarray, labels: LabelSet) -> Any:
    return (region.mask(prediction.shape) for region in regions(prediction, len(labels)))


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
