"""`hfseg rank-unlabeled`: images without labels and a model -> which to label next.

OUTPUT/ranking.csv holds all images, those to label first. The processes of a launch share the
images, and a command that was stopped goes on (see `hfseg.shared_work`).
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import datasets
import torch
from PIL import Image

from hfseg.config.data import DataArguments
from hfseg.config.rank_unlabeled import RankArguments
from hfseg.data.image_io import read_ahead, to_rgb
from hfseg.data.samples import EvaluationSamples
from hfseg.data.video import SUFFIXES as VIDEO_SUFFIXES
from hfseg.disk import write_text
from hfseg.errors import UserError
from hfseg.evaluation.acquisition import Ranked, rank, uncertainty
from hfseg.evaluation.scoring import weights_checksum
from hfseg.inference.encoder_features import EncoderFeatures
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.processes import Processes
from hfseg.progress import Progress
from hfseg.shared_work import SharedWork
from hfseg.workflows.evaluate import load_split
from hfseg.workflows.folder_lock import FolderLock
from hfseg.workflows.predict_files import Outcome, name_outputs

RANKING = "ranking.csv"
_SHOWN = 5
_SIDE = 512
"""Uncertainty is averaged over at most this many pixels a side: a 12-megapixel photo of 150 classes
would need 7 GB."""


class Looked:
    """What the model made of some images, as the `Mergeable` of `SharedWork`.

    Attributes:
        values: index -> (1 + D,) float32, uncertainty and features.
        bad: index -> what is wrong with it.
    """

    def __init__(self) -> None:
        self.values: dict[int, torch.Tensor] = {}
        self.bad: dict[int, str] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "bad": self.bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.bad = dict(state["values"]), dict(state["bad"])

    def merge(self, other: Self) -> None:
        self.values |= other.values
        self.bad |= other.bad


@dataclass(frozen=True)
class Items:
    """The unlabeled images, followed by the labeled ones."""

    paths: Sequence[Path]
    labeled: datasets.Dataset | None

    def __len__(self) -> int:
        return len(self.paths) + (0 if self.labeled is None else len(self.labeled))

    def read(self, index: int, any_size: bool = False) -> Image.Image:
        """Upright and RGB."""
        if index < len(self.paths):
            return to_rgb(self.paths[index], any_size=any_size)
        sample = EvaluationSamples(self.labeled)[index - len(self.paths)]
        return Image.fromarray(sample["image"])


def rank_unlabeled(
    wanted: RankArguments,
    data: DataArguments,
    inputs: Sequence[str],
    output_dir: str,
    overwrite: bool = False,
    dataset: tuple[datasets.DatasetDict, LabelSet] | None = None,
) -> list[Path]:
    """Rank the images of `inputs`, and write and print the ranking.

    Args:
        data: the labeled data that the chosen images should differ from; without a name none.
        inputs: image files and folders.
        overwrite: replace an earlier ranking.
        dataset: splits and labels, in place of `data.dataset_name`.

    Returns:
        The images, those to label first.

    Raises:
        UserError: a wrong model, data or folder, a video, or images that can't be read (after the
            others are ranked).
    """
    folder = Path(output_dir)
    names = name_outputs(inputs, folder)
    if videos := [path for path in names if path.suffix.lower() in VIDEO_SUFFIXES]:
        raise UserError(f"{videos[0]} is a video: give its frames as images")
    if (folder / RANKING).exists() and not overwrite:
        raise UserError(
            f"{folder / RANKING} exists already; give another --output_dir, or --overwrite to "
            "replace it"
        )
    processes = Processes()
    with FolderLock(folder) as lock:
        if processes.is_first:
            lock.take()
        labeled = None
        if (dataset or data.dataset_name) and wanted.candidates > 1:
            with processes.first_before_others():
                labeled, _ = load_split(wanted.split, data, dataset)
        items = Items(list(names), labeled)
        work = _work(wanted, items, folder, processes)
        looked = work.merged()
        good = [index for index in range(len(items.paths)) if index in looked.values]
        ranked = _ranked(wanted, len(items.paths), looked, good)
        paths = [items.paths[good[each.index]] for each in ranked]
        if processes.is_first:
            scores = [float(looked.values[good[each.index]][0]) for each in ranked]
            _write(folder / RANKING, paths, scores, ranked, min(wanted.budget, len(paths)))
            work.remove()
    bad = [reason for _, reason in sorted(looked.bad.items())]
    Outcome(folder, len(items.paths), bad).check()
    return paths


def _work(
    wanted: RankArguments, items: Items, folder: Path, processes: Processes
) -> SharedWork[Looked]:
    """Uncertainty and features of every image."""
    segmenter = Segmenter.from_pretrained(
        wanted.model_name_or_path,
        trust_remote_code=wanted.trust_remote_code,
        device=processes.device,
        dtype=wanted.dtype,
    )
    how = Options.make(wanted.sliding_window, wanted.stride, wanted.tta, return_probabilities=True)
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in items.paths]
    labeled = getattr(items.labeled, "_fingerprint", None)
    settings = [
        weights_checksum(segmenter.model), wanted.uncertainty, wanted.candidates > 1,
        wanted.sliding_window, wanted.stride, wanted.tta, wanted.dtype, files, labeled,
    ]  # fmt: skip
    work = SharedWork(len(items), Looked, processes, folder, settings)
    read_image = partial(items.read, any_size=how.window is not None)
    with (
        EncoderFeatures(segmenter.model) as features,
        Progress(len(work.waiting), "looking", shown=processes.is_first) as bar,
    ):
        for index, read in read_ahead(work.waiting, read_image):
            try:
                image = read()
            except UserError as error:
                if index >= len(items.paths):
                    raise
                work.part.bad[index] = str(error)
            else:
                found = segmenter.segment(image, how, _size(image, how))
                assert found.probabilities is not None
                value = uncertainty(found.probabilities, wanted.uncertainty)
                seen = features.take().tolist() if wanted.candidates > 1 else []
                work.part.values[index] = torch.tensor([value, *seen])
            work.done(index)
            bar.update()
    return work


def _size(image: Image.Image, how: Options) -> tuple[int, int] | None:
    """(height, width) of the probabilities; a sliding window has those of the image."""
    factor = _SIDE / max(image.size)
    if how.window is not None or factor >= 1:
        return None
    return max(1, round(image.height * factor)), max(1, round(image.width * factor))


def _ranked(wanted: RankArguments, count: int, looked: Looked, good: Sequence[int]) -> list[Ranked]:
    """The images at the positions `good`; those from `count` on are labeled."""
    if not good:
        return []
    values = torch.stack([looked.values[index] for index in good]).numpy()
    if wanted.candidates == 1:
        return rank(values[:, 0], None, wanted.budget, 1)
    labeled = [value[1:] for index, value in sorted(looked.values.items()) if index >= count]
    centers = torch.stack(labeled).numpy() if labeled else None
    return rank(values[:, 0], values[:, 1:], wanted.budget, wanted.candidates, centers)


def _write(
    file: Path,
    paths: Sequence[Path],
    uncertainties: Sequence[float],
    ranked: Sequence[Ranked],
    budget: int,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("rank", "image", "label", "uncertainty", "distance"))
    for place, (path, value, each) in enumerate(zip(paths, uncertainties, ranked, strict=True), 1):
        distance = f"{each.distance:.4f}" if math.isfinite(each.distance) else ""
        chosen = "yes" if place <= budget else "no"
        writer.writerow((place, path.as_posix(), chosen, f"{value:.4f}", distance))
    write_text(file, text.getvalue())
    print(f"{budget} of {len(paths)} images to label next, in {file}:")
    for path in paths[: min(budget, _SHOWN)]:
        print(f"- {path}")
    if budget > _SHOWN:
        print(f"- and {budget - _SHOWN} more", flush=True)
