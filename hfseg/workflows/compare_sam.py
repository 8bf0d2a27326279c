"""`hfseg compare-sam`: a semantic model compared with SAM on a labeled split."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image

from hfseg.config.data import DatasetArguments
from hfseg.config.evaluation import SamArguments
from hfseg.config.values import OptionValues
from hfseg.data.image_io import read_ahead
from hfseg.data.rows import sample_names
from hfseg.data.samples import EvaluationSamples
from hfseg.errors import UserError
from hfseg.evaluation.class_map import prediction_table
from hfseg.evaluation.scoring import weights_checksum
from hfseg.inference.result import Options
from hfseg.inference.segmenter import DTYPES, Segmenter
from hfseg.labels import LabelSet
from hfseg.processes import Processes
from hfseg.progress import Progress
from hfseg.sam.class_prompter import ClassPrompter, read_class_prompts
from hfseg.sam.load_sam import is_untrained
from hfseg.sam.masks import SamMasks
from hfseg.sam.measuring import Meter
from hfseg.sam.predictor import SamPredictor
from hfseg.sam.refinement import oracle, refine_by_votes, with_sam_boundaries
from hfseg.sam.regions import MAX_PROMPTS, mask_recall, regions
from hfseg.shared_work import SharedWork
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
    Method,
    Seen,
    draw_image,
    number_or_none,
    results_of,
    write_results,
)
from hfseg.workflows.sam_tally import SamTally


def compare_sam(options: SamArguments, data: DatasetArguments) -> dict[str, Any]:
    """Score all methods, print the table and write the results.

    The processes of a launch share the images; a comparison that was stopped continues.

    Returns:
        The content of results.json.

    Raises:
        UserError: an invalid model, SAM, split, class map or option; nothing is written.
    """
    if data.eval_at_image_size:
        raise UserError(
            "--eval_at_image_size: SAM is compared at the label's own size; leave the flag out"
        )
    parts = (options.model_name_or_path, options.sam, data.short_name, options.split)
    folder = results_folder("compare_sam", parts, options.output_dir, options.overwrite_output_dir)
    processes = Processes()
    with processes.first_before_others():
        rows, labels = load_split(options.split, data)
    segmenter = Segmenter.from_pretrained(
        options.model_name_or_path,
        trust_remote_code=options.trust_remote_code,
        dtype=options.dtype,
    )
    set_image_size(segmenter, data)
    table = prediction_table(segmenter.labels, labels, options.class_map)
    predictor = SamPredictor.from_pretrained(options.sam, dtype=options.dtype)
    prompter = _load_prompter(options, labels)
    networks = [each.model for each in (segmenter, predictor, prompter) if each is not None]
    untrained = any(map(is_untrained, networks[1:]))
    chosen = np.linspace(0, len(rows) - 1, min(options.num_figures, len(rows))).round()
    figures = {index: f"figures/image-{index:05d}.png" for index in chosen.astype(int).tolist()}
    work = SharedWork(
        len(rows),
        lambda: SamTally(labels, [each.name for each in _methods(prompter)], processes.device),
        processes,
        folder,
        [options, data, rows._fingerprint, [weights_checksum(each) for each in networks]],
    )
    with Progress(len(work.waiting), "comparing", shown=processes.is_first) as bar:
        found = compare(
            segmenter,
            predictor,
            rows,
            labels,
            table,
            prompts=options.prompts,
            everything=options.everything,
            prompter=prompter,
            show=_drawing(folder, figures, labels, UNTRAINED if untrained else ""),
            work=work,
            done=bar.update,
        )
    results = results_of(options, data, found, untrained, list(figures.values()))
    if processes.is_first:
        write_results(folder, results, found)
        work.remove()
        _print(found, untrained, prompter is not None, folder)
    return results


def _drawing(
    folder: Path, figures: dict[int, str], labels: LabelSet, note: str
) -> Callable[[Seen], None]:
    """A function that draws an image if it is one of the figures (index -> path)."""

    def show(seen: Seen) -> None:
        if seen.index in figures:
            draw_image(seen, labels, folder / figures[seen.index], note)

    return show


def _load_prompter(options: SamArguments, labels: LabelSet) -> ClassPrompter | None:
    if options.sam3 is None:
        return None
    file = options.class_prompts
    texts = read_class_prompts(file, labels) if file is not None else None
    return ClassPrompter.from_pretrained(options.sam3, labels, texts, DTYPES[options.dtype])


def _print(found: Comparison, untrained: bool, with_names: bool, folder: Path) -> None:
    if untrained:
        print(UNTRAINED)
    print(terminal_table(method_table(found.rows, SCORES), text_columns=2))
    for sentence in boundary_changes(found.rows):
        print(sentence)
    print(CLASS_AWARENESS)
    if with_names:
        print(CLASS_NAMES)
    print(f"mean_iou {found.rows[0].scores['mean_iou'] or 0:.4f}  {folder}", flush=True)


def compare(
    segmenter: Segmenter,
    predictor: SamPredictor,
    data: datasets.Dataset,
    labels: LabelSet,
    table: np.ndarray,
    *,
    prompts: str = "boxes",
    everything: OptionValues | None = None,
    prompter: ClassPrompter | None = None,
    show: Callable[[Seen], object] = lambda seen: None,
    work: SharedWork[SamTally] | None = None,
    done: Callable[[], object] = lambda: None,
) -> Comparison:
    """Segment every image with every method, and score at the label's own size.

    Args:
        data: columns `image` and `label`.
        labels: of the dataset.
        table: predicted id -> dataset id (`prediction_table`).
        prompts: kind of the prompts (`prompts_from_mask`).
        everything: options of `SamPredictor.segment_everything`.
        prompter: a SAM 3 that is prompted with the class names, for two more methods.
        show: called with each image.
        work: which images this process compares; None: all.
        done: called after each image.
    """
    samples = EvaluationSamples(data)
    device = torch.device(segmenter.model.device)
    names = sample_names(data, "evaluated")
    methods = _methods(prompter)
    names_of_methods = [method.name for method in methods]
    work = work or SharedWork(len(samples), lambda: SamTally(labels, names_of_methods, device))
    models = _Models(segmenter, predictor, prompter, labels, table, prompts, everything or {})
    for index, waiting in read_ahead(work.waiting, samples.__getitem__):
        sample = waiting()
        truth = sample["label"]
        answers = models.segment(Image.fromarray(sample["image"]), truth, work.part.meter)
        target = torch.from_numpy(truth.astype(np.int64)).to(device)
        for name, prediction in answers.predictions.items():
            ids = torch.from_numpy(prediction.astype(np.int64)).to(device)
            work.part.scores[name].add(index, ids, target)
            work.part.recall[name] += mask_recall(answers.proposals[name], truth, labels)
        work.part.num_masks[index] = len(answers.masks)
        show(Seen(index, names[index], answers.image, truth, answers.masks, answers.predictions))
        work.done(index)
        done()
    tally = work.merged()
    rows = [models.row(method, tally) for method in methods]
    return Comparison(methods, rows, tally.scores, names, tally.num_masks)


def _methods(prompter: ClassPrompter | None) -> tuple[Method, ...]:
    return METHODS if prompter is None else (*METHODS, *SAM3_METHODS)


@dataclass(frozen=True, eq=False)
class _Answers:
    """One image, segmented by every method.

    Attributes:
        image: RGB, at the size of the label.
        masks: all SAM masks.
        predictions: method -> (H, W) dataset ids.
        proposals: method -> (H, W) bool masks, whose recall is measured.
    """

    image: Image.Image
    masks: SamMasks
    predictions: dict[str, np.ndarray]
    proposals: dict[str, Iterable[np.ndarray]]


@dataclass(frozen=True, eq=False)
class _Models:
    """The models that are compared, and their options as in `compare`."""

    segmenter: Segmenter
    predictor: SamPredictor
    prompter: ClassPrompter | None
    labels: LabelSet
    table: np.ndarray
    prompts: str
    everything: OptionValues

    def segment(self, image: Image.Image, truth: np.ndarray, meter: Meter) -> _Answers:
        labels = self.labels
        with meter.step("predict"):
            predicted = self.segmenter.segment(image, Options(), size=truth.shape).mask
        if image.size != truth.shape[::-1]:
            # SAM's masks have the size of its input, and are combined with the labels
            image = image.resize(truth.shape[::-1], Image.Resampling.BILINEAR)
        with meter.step("embed"):
            self.predictor.embed(image)
        with meter.step("everything"):
            masks = self.predictor.segment_everything(image, **self.everything)
        with meter.step("oracle"):
            named = oracle(masks, truth, labels.ignore_index)
        with meter.step("prompt"):
            targets = regions(predicted, len(self.segmenter.labels))[:MAX_PROMPTS]
            answers = self.predictor.prompt_each(
                image, [region.prompt(self.prompts) for region in targets]
            )
            prompted = with_sam_boundaries(targets, answers, predicted)
        with meter.step("vote"):
            voted = refine_by_votes(masks, predicted)
        predictions = {
            "model": self.table[predicted],
            "oracle": np.where(named == labels.ignore_index, len(labels), named),
            "prompted": self.table[prompted],
            "voted": self.table[voted],
        }
        proposals: dict[str, Iterable[np.ndarray]] = {
            "model": _region_masks(predictions["model"], labels),
            "oracle": masks.masks,
            "prompted": answers.masks,
            "voted": _region_masks(predictions["voted"], labels),
        }
        if self.prompter is not None:
            with meter.step("names"):
                by_name = self.prompter.segment(image)
            predictions["sam3_instances"] = by_name.instances
            predictions["sam3_semantic"] = by_name.semantic
            proposals["sam3_instances"] = by_name.masks
            proposals["sam3_semantic"] = _region_masks(by_name.semantic, labels)
        return _Answers(image, masks, predictions, proposals)

    def row(self, method: Method, tally: SamTally) -> Row:
        """The measurements of a method over all images."""
        scores, meter = tally.scores[method.name], tally.meter
        values = scores.compute()
        numbers = {key: number_or_none(values[key]) for key in SCORES if key in values}
        hits, expected = tally.recall[method.name].tolist()
        seconds = sum(meter.seconds[step] for step in method.steps)
        return Row(
            method.title,
            method.classes_from,
            {**numbers, "mask_recall": hits / expected if expected else None},
            seconds / len(scores),
            meter.peak_gib(method.steps),
            sum(self._parameters(name) for name in method.networks) / 1e6,
        )

    def _parameters(self, network: str) -> int:
        runners: dict[str, Segmenter | SamPredictor | ClassPrompter | None] = {
            "model": self.segmenter,
            "sam": self.predictor,
            "sam3": self.prompter,
        }
        runner = runners[network]
        return 0 if runner is None else sum(p.numel() for p in runner.model.parameters())


def _region_masks(prediction: np.ndarray, labels: LabelSet) -> Iterator[np.ndarray]:
    return (region.mask(prediction.shape) for region in regions(prediction, len(labels)))
