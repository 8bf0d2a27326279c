"""One pass over a dataset: its content and its problems."""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
from PIL import Image

from hfseg.data.dataset import LoadedDataset
from hfseg.data.rows import sample_names
from hfseg.data.specks import MANY_SPECKS, count_specks
from hfseg.labels import LabelSet
from hfseg.progress import track

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


def inspect(
    loaded: LoadedDataset,
    show: Callable[[str, Image.Image, np.ndarray], None] | None = None,
    shown: int = _SHOWN,
) -> Inspection:
    """Examine every sample once; memory use does not grow.

    Args:
        loaded: the data and the findings from reading it.
        show: called with name, image and ids of `shown` samples spread over the splits.
    """
    started = time.perf_counter()
    data, labels = loaded.data, loaded.labels
    summaries: dict[str, SplitSummary] = {}
    warnings: list[str] = []
    seen: dict[bytes, tuple[str, str]] = {}
    for split, rows in data.items():
        pixels = np.zeros(256, dtype=np.int64)
        occurs = np.zeros(256, dtype=np.int64)
        sizes: Counter[str] = Counter()
        names = sample_names(rows, split)
        step = max(1, -(-len(rows) * len(data) // shown))
        for index, row in enumerate(track(rows, f"inspecting {split}")):
            ids = np.asarray(row["label"])
            found = np.bincount(ids.ravel(), minlength=256)
            pixels += found
            occurs += found > 0
            sizes[f"{ids.shape[1]}x{ids.shape[0]}"] += 1
            name = names[index]
            if not found[: len(labels)].any():
                warnings.append(f"{name}: every pixel is ignored")
            specks = count_specks(ids, labels.ignore_index)
            if specks >= MANY_SPECKS:
                warnings.append(f"{name}: {specks} specks of a single pixel in its mask")
            first = seen.setdefault(_digest(row["image"]), (name, split))
            if first != (name, split):
                leak = f" of {first[1]}, so scores are too good" if first[1] != split else ""
                warnings.append(f"{name}: the same image as {first[0]}{leak}")
            if show is not None and index % step == 0:
                show(name, *_thumbnail(row["image"], ids))
        summaries[split] = SplitSummary(
            images=len(rows),
            pixels=pixels[: len(labels)].tolist(),
            in_images=occurs[: len(labels)].tolist(),
            ignored=int(pixels[labels.ignore_index]),
            sizes=dict(sizes.most_common()),
        )
    if "validation" not in summaries:
        warnings.append("there is no validation split")
    count = sum(summary.images for summary in summaries.values())
    return Inspection(
        labels=labels,
        splits=summaries,
        problems=loaded.problems,
        findings=loaded.findings,
        warnings=[*loaded.warnings, *warnings],
        weights=_balanced(summaries, len(labels)),
        seconds_per_image=(time.perf_counter() - started) / max(count, 1),
    )


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
