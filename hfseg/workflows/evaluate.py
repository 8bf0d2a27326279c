"""`hfseg evaluate`: scores a model on a split, and writes a folder of results."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from hfseg.cards.card_facts import hardware, protocol
from hfseg.cards.redaction import redacted
from hfseg.config.data import DatasetArguments
from hfseg.config.evaluation import EvaluationArguments
from hfseg.config.values import ImageSize
from hfseg.data import load_dataset
from hfseg.data.extra import check_human_labeled
from hfseg.data.rows import sample_names
from hfseg.data.samples import EvaluationSamples
from hfseg.data.units import units_of
from hfseg.errors import UserError
from hfseg.evaluation.calibration import calibrate
from hfseg.evaluation.claimed_score import TOLERANCE, claimed_mean_iou
from hfseg.evaluation.class_map import prediction_table
from hfseg.evaluation.report import (
    RESULTS,
    Results,
    calibration_line,
    interval_line,
    results_of,
    terminal_table,
    worst_first,
    write_figures,
    write_results,
)
from hfseg.evaluation.scoring import predict_sample, score_split, weights_checksum
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.models.confidence import save_temperature, temperature_of
from hfseg.processes import Processes
from hfseg.progress import Progress
from hfseg.shared_work import SharedWork
from hfseg.visualization.prediction_figures import PredictionRow
from hfseg.workflows.run import picture, score_table
from hfseg.workflows.run_start import warn_if_trained_on

_PICTURES = 6


@dataclass(eq=False)
class EvaluationResult(Mapping[str, Any]):
    """The scores of an evaluation, by the keys of results.json.

    Attributes:
        results: the content of results.json.
        labels: names and colors of the classes.
        output_dir: the folder with tables and figures.
    """

    results: Results
    labels: LabelSet
    output_dir: Path

    def __getitem__(self, key: str) -> Any:
        return self.results[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        return f"EvaluationResult(mean_iou={self['mean_iou'] or 0:.4f}, {str(self.output_dir)!r})"

    def _repr_html_(self) -> str:
        """The scores per class and the worst images, in a notebook."""
        keys = (f"iou_{key}" for key in self.labels.metric_names)
        ious = {key: row["iou"] for key, row in zip(keys, self["per_class"].values(), strict=True)}
        table = score_table(self.labels, {str(self["split"]): {**self.results, **ious}})
        return table + picture(self.output_dir / "worst.png")


def evaluate_model(
    arguments: EvaluationArguments,
    data: DatasetArguments,
    dataset: tuple[datasets.DatasetDict, LabelSet] | None = None,
    segmenter: Segmenter | None = None,
) -> EvaluationResult:
    """Score, print and write. All processes of a launch score, and the first one writes.

    An evaluation that was stopped continues with the images that are left.

    Args:
        dataset: splits and labels, in place of `data.dataset_name`.
        segmenter: in place of `arguments.model_name_or_path`.

    Returns:
        The content of results.json.

    Raises:
        UserError: an invalid model, split, class map or option; nothing is written.
        SystemExit: with 1, if the card claims another score.
    """
    processes = Processes()
    options = Options.make(
        arguments.sliding_window, arguments.stride, arguments.tta, return_confidence=True
    )
    _check_calibrate(arguments)
    folder = _output_dir(arguments, data)
    with processes.first_before_others():
        rows, labels = load_split(arguments.split, data, dataset)
    if segmenter is None:
        segmenter = Segmenter.from_pretrained(
            arguments.model_name_or_path,
            trust_remote_code=arguments.trust_remote_code,
            device=processes.device,
            dtype=arguments.dtype,
        )
        if processes.is_first:
            warn_if_trained_on(arguments.model_name_or_path, rows, arguments.split)
    claim = _claim(arguments)
    size = set_image_size(segmenter, data)
    table = prediction_table(segmenter.labels, labels, arguments.class_map)
    if labels.unnamed and arguments.class_map is None:
        labels = segmenter.labels  # the ids are read as those of the model
    label_size = size if data.eval_at_image_size else None
    before: dict[str, float] = {}
    if arguments.calibrate:
        fitted = calibrate(segmenter, rows, labels, table, options, label_size)
        before = fitted.scores()
        if processes.is_first:
            save_temperature(arguments.model_name_or_path, fitted.temperature)
    started = time.perf_counter()
    about = _about(arguments, data, segmenter, options) | before
    settings = [about, rows._fingerprint, weights_checksum(segmenter.model), table.tolist()]
    work = SharedWork(len(rows), lambda: SplitScores(labels), processes, folder, settings)
    with Progress(len(work.waiting), "scoring", shown=processes.is_first) as bar:
        scores = score_split(
            segmenter, rows, labels, table, options, label_size, work=work, done=bar.update
        )
    about["seconds"] = round(time.perf_counter() - started, 1)
    about["hardware"] = hardware(processes.device, processes.count)
    results = results_of(scores, about, units_of(rows, data.dataset_name, data.split_by))
    if processes.is_first:
        _write(folder, results, scores, segmenter, rows, table, options)
        work.remove()
    _compare(claim, results["mean_iou"], processes.is_first)
    return EvaluationResult(results, labels, folder)


def _check_calibrate(arguments: EvaluationArguments) -> None:
    model = arguments.model_name_or_path
    if arguments.calibrate and not (Path(model) / "config.json").is_file():
        raise UserError(
            f"--calibrate saves the temperature into the model, but {model} is not a folder: "
            "download the model, and give its folder"
        )


def _claim(arguments: EvaluationArguments) -> float | None:
    if not arguments.check_card:
        return None
    return claimed_mean_iou(arguments.model_name_or_path, arguments.split)


def _write(
    folder: Path,
    results: Results,
    scores: SplitScores,
    segmenter: Segmenter,
    rows: datasets.Dataset,
    table: np.ndarray,
    options: Options,
) -> None:
    """Write the results and figures, and print the tables."""
    names = sample_names(rows, results["split"])
    write_results(folder, results, scores, names)
    worst = worst_first(scores.image_scores())[:_PICTURES]
    write_figures(
        folder, results, scores, _pictures(segmenter, rows, table, options, scores, worst, names)
    )
    print(terminal_table(results))
    print(interval_line(results))
    print(calibration_line(results))
    print(f"mean_iou {results['mean_iou'] or 0:.4f}  {folder}", flush=True)


def _output_dir(arguments: EvaluationArguments, data: DatasetArguments) -> Path:
    parts = (arguments.model_name_or_path, data.short_name, arguments.split)
    return results_folder("evaluate", parts, arguments.output_dir, arguments.overwrite_output_dir)


def results_folder(
    job: str, parts: Sequence[object], output_dir: str | None, overwrite_output_dir: bool
) -> Path:
    """`--output_dir`, or `runs/JOB/` and the last names of `parts`; not created yet.

    Raises:
        UserError: it is a file, or contains results that may not be replaced.
    """
    folder = Path("runs", job, "-".join(Path(str(part)).name for part in parts))
    if output_dir is not None:
        folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output_dir {folder} is a file; give a folder")
    if (folder / RESULTS).exists() and not overwrite_output_dir:
        raise UserError(
            f"{folder} already contains results; replace them (--overwrite_output_dir) or give "
            "another --output_dir"
        )
    return folder


def load_split(
    split: str,
    source: DatasetArguments,
    dataset: tuple[datasets.DatasetDict, LabelSet] | None = None,
) -> tuple[datasets.Dataset, LabelSet]:
    """The rows of a split, at most `--max_eval_samples`, and their labels.

    Raises:
        UserError: no data, no such split, an empty one, or labels that a model made.
    """
    check_human_labeled(source.dataset_path)
    if source.streaming:
        raise UserError("--streaming is only for training; leave it out")
    if dataset is not None:
        data, labels = dataset
        if split not in data:
            raise UserError(f"the dataset has no split {split!r}; it has {', '.join(data)}")
    else:
        data, labels = load_dataset(
            source.required_name(), source.dataset_path, split=split, **source.dataset_options()
        )
    rows = data[split]
    if source.max_eval_samples is not None:
        rows = rows.select(range(min(source.max_eval_samples, len(rows))))
    if not len(rows):
        raise UserError(
            f"the split {split} of {source.title} has no images; choose another --split"
        )
    return rows, labels


def set_image_size(segmenter: Segmenter, data: DatasetArguments) -> ImageSize | None:
    """Make the processor resize to `--image_size`, and return that."""
    processor = segmenter.image_processor
    size = data.image_size
    if size is not None:
        processor.do_resize = True
        processor.size = {"height": size[0], "width": size[1]}
    return size


def _about(
    arguments: EvaluationArguments, data: DatasetArguments, segmenter: Segmenter, options: Options
) -> Results:
    return {
        "model": redacted(arguments.model_name_or_path),
        "dataset": redacted(data.title),
        "split": arguments.split,
        "num_parameters": sum(each.numel() for each in segmenter.model.parameters()),
        "protocol": _protocol(arguments, data, segmenter, options),
        "sliding_window": options.window,
        "stride": options.stride,
        "tta": arguments.tta,
        "dtype": arguments.dtype,
        "temperature": temperature_of(segmenter.model),
    }


def _protocol(
    arguments: EvaluationArguments, data: DatasetArguments, segmenter: Segmenter, options: Options
) -> str:
    processor = segmenter.image_processor
    size = None
    if getattr(processor, "do_resize", False) and options.window is None:
        sides = dict(processor.size)
        size = str(data.image_size or "x".join(str(each) for each in sides.values() if each))
    text = protocol(segmenter.model.config, size, data.eval_at_image_size)
    if options.window is not None and options.stride is not None:
        text += " Sliding window of {} x {}, stride {} x {}, blended.".format(
            *options.window, *options.stride
        )
    if options.views is not None:
        text += f" Probabilities averaged over the views {arguments.tta}."
    if arguments.class_map is not None:
        text += f" Classes matched by {Path(arguments.class_map).name}."
    return f"{text} Weights and activations in {arguments.dtype}."


def _pictures(
    segmenter: Segmenter,
    rows: datasets.Dataset,
    table: np.ndarray,
    options: Options,
    scores: SplitScores,
    indices: list[int],
    names: Sequence[str],
) -> list[PredictionRow]:
    samples = EvaluationSamples(rows)
    found: list[PredictionRow] = []
    for index in indices:
        sample = samples[index]
        prediction = table[predict_sample(segmenter, sample, options).mask]
        score = scores.image_scores()[index]
        found.append(
            {
                "image": sample["image"],
                "truth": sample["label"],
                "prediction": prediction.clip(max=255),
                "caption": f"{names[index]}: mIoU {score:.2f}",
            }
        )
    return found


def _compare(claim: float | None, measured: float | None, shown: bool) -> None:
    if claim is None:
        return
    agrees = measured is not None and abs(claim - measured) <= TOLERANCE
    if shown:
        verdict = "agree" if agrees else "DIFFER"
        print(f"card {claim:.4f}, measured {measured or 0:.4f}: they {verdict}", flush=True)
    if not agrees:
        raise SystemExit(1)
