"""One pass over a dataset: its content and its problems."""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hfseg.data.dataset import LoadedDataset
from hfseg.data.rows import sample_names
from hfseg.labels import LabelSet
from hfseg.processes import Processes
from hfseg.progress import Progress
from hfseg.shared_work import SharedWork

if TYPE_CHECKING:
    import datasets

_SHOWN = 12
_THUMBNAIL = 512


@dataclass
class SplitSummary:
    """The content of one split.

    Attributes:
        images: number of samples.
        pixels: pixels of each class, in id order.
        in_images: number of images in which each class occurs.
        ignored: pixels that are ignored.
        sizes: (width, height) as "WxH" -> number of images.
    """

    images: int = 0
    pixels: list[int] = field(default_factory=list)
    in_images: list[int] = field(default_factory=list)
    ignored: int = 0
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass
class Inspection:
    """The findings over all splits.

    Attributes:
        splits: by name.
        problems: samples that can't be used, one sentence each with file and value.
        findings: what stops training even if every sample can be read.
        warnings: what does not stop training but looks wrong or misleading.
        weights: suggested class weights, N / (K n_c) over the training pixels as scikit-learn's
            `balanced`; 0 for a class that doesn't occur.
        seconds_per_image: of the pass.
    """

    labels: LabelSet
    splits: dict[str, SplitSummary]
    problems: list[str]
    findings: list[str]
    warnings: list[str]
    weights: list[float]
    seconds_per_image: float

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "labels": self.labels.to_dict(),
            "splits": {name: asdict(summary) for name, summary in self.splits.items()},
            "problems": self.problems,
            "findings": self.findings,
            "warnings": self.warnings,
            "class_weights": dict(zip(self.labels.names, self.weights, strict=True)),
            "seconds_per_image": self.seconds_per_image,
        }


@dataclass
class _Tally:
    """What some samples contain; samples are numbered through all splits.

    Attributes:
        pixels: (256,) int64 per split.
        occurs: (256,) int64 per split: the samples in which a value occurs.
        sizes: per split, (width, height) as "WxH" -> number of samples.
        digests: sample -> of its pixels.
        unlabeled: the samples of which every pixel is ignored.
    """

    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    occurs: dict[str, np.ndarray] = field(default_factory=dict)
    sizes: dict[str, Counter[str]] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    unlabeled: set[int] = field(default_factory=set)

    def add(self, item: int, split: str, row: dict[str, Any], labels: LabelSet) -> None:
        """One sample."""
        ids = np.asarray(row["label"])
        found = np.bincount(ids.ravel(), minlength=256)
        size = f"{ids.shape[1]}x{ids.shape[0]}"
        self._add(split, found, (found > 0).astype(np.int64), Counter({size: 1}))
        self.digests[item] = _digest(row["image"])
        if not found[: len(labels)].any():
            self.unlabeled.add(item)

    def _add(self, split: str, pixels: np.ndarray, occurs: np.ndarray, sizes: Counter[str]) -> None:
        none = np.zeros(256, dtype=np.int64)
        self.pixels[split] = self.pixels.get(split, none) + pixels
        self.occurs[split] = self.occurs.get(split, none) + occurs
        self.sizes[split] = self.sizes.get(split, Counter()) + sizes

    def merge(self, other: "_Tally") -> None:
        for split in other.pixels:
            self._add(split, other.pixels[split], other.occurs[split], other.sizes[split])
        self.digests |= other.digests
        self.unlabeled |= other.unlabeled

    def state_dict(self) -> dict[str, Any]:
        return {
            "pixels": {split: counts.tolist() for split, counts in self.pixels.items()},
            "occurs": {split: counts.tolist() for split, counts in self.occurs.items()},
            "sizes": {split: dict(sizes) for split, sizes in self.sizes.items()},
            "digests": {item: digest.hex() for item, digest in self.digests.items()},
            "unlabeled": sorted(self.unlabeled),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pixels = {split: np.array(counts) for split, counts in state["pixels"].items()}
        self.occurs = {split: np.array(counts) for split, counts in state["occurs"].items()}
        self.sizes = {split: Counter(sizes) for split, sizes in state["sizes"].items()}
        self.digests = {item: bytes.fromhex(text) for item, text in state["digests"].items()}
        self.unlabeled = set(state["unlabeled"])

    def summary(self, split: str, images: int, labels: LabelSet) -> SplitSummary:
        """The content of a split."""
        # sizes of equal number by name, as samples were added in any order
        sizes = sorted(self.sizes[split].items(), key=lambda size: (-size[1], size[0]))
        return SplitSummary(
            images=images,
            pixels=self.pixels[split][: len(labels)].tolist(),
            in_images=self.occurs[split][: len(labels)].tolist(),
            ignored=int(self.pixels[split][labels.ignore_index]),
            sizes=dict(sizes),
        )


def inspect(
    loaded: LoadedDataset,
    show: Callable[[str, Image.Image, np.ndarray], None] | None = None,
    shown: int = _SHOWN,
    processes: Processes | None = None,
    output_dir: str | Path = ".",
) -> Inspection:
    """Examine every sample once; memory use does not grow.

    Args:
        loaded: the data and the findings from reading it.
        show: called with name, image and ids of `shown` samples spread over the splits.
        processes: they share the samples; None: this one alone.
        output_dir: of the command, which continues there after it was stopped.
    """
    started = time.perf_counter()
    data, labels = loaded.data, loaded.labels
    samples = [(split, index) for split, rows in data.items() for index in range(len(rows))]
    seen_as = [rows._fingerprint for rows in data.values()]
    work = SharedWork(len(samples), _Tally, processes, output_dir, [seen_as, labels.to_dict()])
    quiet = processes is not None and not processes.is_first
    with Progress(len(work.waiting), "inspecting", shown=not quiet) as bar:
        for item in work.waiting:
            split, index = samples[item]
            work.part.add(item, split, data[split][index], labels)
            work.done(item)
            bar.update()
    tally = work.merged()
    names = {split: sample_names(rows, split) for split, rows in data.items()}
    warnings = list(_oddities(tally, [(names[split][index], split) for split, index in samples]))
    if show is not None:
        for split, index in _spread(data, shown):
            row = data[split][index]
            show(names[split][index], *_thumbnail(row["image"], np.asarray(row["label"])))
    summaries = {split: tally.summary(split, len(rows), labels) for split, rows in data.items()}
    if "validation" not in summaries:
        warnings.append("there is no validation split")
    return Inspection(
        labels=labels,
        splits=summaries,
        problems=loaded.problems,
        findings=loaded.findings,
        warnings=[*loaded.warnings, *warnings],
        weights=_balanced(summaries, len(labels)),
        seconds_per_image=(time.perf_counter() - started) / max(len(samples), 1),
    )


def _spread(data: "datasets.DatasetDict", count: int) -> Iterator[tuple[str, int]]:
    """About `count` samples, as many from each split."""
    for split, rows in data.items():
        step = max(1, -(-len(rows) * len(data) // count))
        yield from ((split, index) for index in range(0, len(rows), step))


def _oddities(tally: _Tally, samples: list[tuple[str, str]]) -> Iterator[str]:
    """A sentence per sample that has no labeled pixel, or repeats another image."""
    seen: dict[bytes, tuple[str, str]] = {}
    for item, (name, split) in enumerate(samples):
        if item in tally.unlabeled:
            yield f"{name}: every pixel is ignored"
        first = seen.setdefault(tally.digests[item], (name, split))
        if first != (name, split):
            leak = f" of {first[1]}, so scores are too good" if first[1] != split else ""
            yield f"{name}: the same image as {first[0]}{leak}"


def by_kind(sentences: Iterable[str]) -> list[list[str]]:
    """Sentences grouped by what they say apart from names and numbers, largest group first."""
    groups: dict[str, list[str]] = {}
    for sentence in sentences:
        kind = re.sub(r"\d+", "0", sentence.split(": ", 1)[-1])
        kind = re.sub(r"\S*[./]\S*", "FILE", kind)
        groups.setdefault(kind, []).append(sentence)
    return sorted(groups.values(), key=len, reverse=True)


def _digest(image: Image.Image) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=12).digest()


def _thumbnail(image: Image.Image, ids: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    scale = min(1.0, _THUMBNAIL / max(image.size))
    size = (max(1, round(scale * image.width)), max(1, round(scale * image.height)))
    small = Image.fromarray(ids).resize(size, Image.Resampling.NEAREST)
    return image.resize(size, Image.Resampling.BILINEAR), np.asarray(small)


def _balanced(summaries: dict[str, SplitSummary], num_labels: int) -> list[float]:
    summary = summaries.get("train") or next(iter(summaries.values()))
    pixels = np.array(summary.pixels, dtype=np.float64)
    present = pixels > 0
    weights = np.zeros(num_labels)
    if present.any():
        weights[present] = pixels.sum() / (present.sum() * pixels[present])
    return weights.round(6).tolist()
