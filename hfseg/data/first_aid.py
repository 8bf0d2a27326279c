"""Masks that can be read but are wrong: what was found, and the flag that fixes it.

`check_sample` examines a few raw masks before anything is decoded, `check_classes` the ids of all
masks afterwards. Apart from data of a single class, both judge only data whose values are assumed
to be ids, without a table. Their findings stop training; `warnings` lists what does not.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hfseg.data.masks import StoredMask
from hfseg.data.specks import ORIGIN_OF_SPECKS, has_many_specks
from hfseg.errors import UserError, counted
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

    from hfseg.data.opened import OpenedDataset

_OFTEN = 0.05
"""The fraction of pixels above which a value is frequent."""
_ALIKE = 128 - 2 * 6
"""Perceptual hashes that differ in at most 6 of their 128 bits belong to near-duplicates."""
_DARK = 1 / 8
_FEW = 5
"""Images of a split with fewer of them give a score of little meaning."""
_MOST_MASK_COLORS = 64
SWAPPED = (
    "the images look like masks (few flat colors) and the masks like photos: images and masks seem "
    "to be swapped, so exchange the two folders or columns"
)


# ---- before decoding ----


def check_sample(opened: "OpenedDataset") -> list[str]:
    """Findings from a few raw masks and images.

    Returns:
        A sentence for each: images and masks swapped, ids multiplied by a factor, ids from 1.
    """
    if not opened.guessed:
        return []
    pairs = list(opened.look())
    if are_swapped(pairs):
        return [SWAPPED]
    values = raw_values(mask for _, mask in pairs)
    finding = _multiplied(values, opened.labels) or _from_one(values, opened.labels)
    return [finding] if finding else []


def raw_values(masks: Iterable[StoredMask]) -> set[int]:
    """All values of gray and palette masks, before they are decoded."""
    found: set[int] = set()
    for mask in masks:
        pixels = np.asarray(mask)
        if pixels.ndim == 3 and (pixels[..., :3] == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        if pixels.ndim == 2 and pixels.dtype.kind in "iub":
            found.update(np.unique(pixels).tolist())
    return found


def factor_of(values: set[int]) -> int | None:
    """10 or more, where all values are multiples of it: ids stretched to be visible."""
    factor = math.gcd(*values) if values else 0
    return factor if factor >= 10 and len(values) > 1 else None


def _multiplied(values: set[int], labels: LabelSet) -> str | None:
    last = len(labels) - 1
    if last < 1 or values - {labels.ignore_index} <= set(range(len(labels))):
        return None
    factor = factor_of(values)
    stretched = {round(index * 255 / last): index for index in range(len(labels))}
    multiples = {index * (factor or 0): index for index in range(len(labels))}
    for ids in (multiples, stretched):
        if len(values) > 2 and values <= ids.keys():
            return (
                f"the masks contain {_listed(values)}, as if their ids had been stretched over "
                f"the gray range; if so, give {label_map_flag(ids, labels)}"
            )
    return None


def _from_one(values: set[int], labels: LabelSet) -> str | None:
    found = values - {labels.ignore_index}
    if not found or min(found) < 1 or max(found) != len(labels):
        return None
    return (
        f"ids seem to start at 1: the masks contain {_listed(found)} but never 0; {_shift(labels)}"
    )


def _shift(labels: LabelSet) -> str:
    ids = {index + 1: index for index in range(len(labels))}
    return f"if so, give {label_map_flag(ids, labels)}, or make `unlabeled` the first class"


def label_map_flag(ids: Mapping[int, int], labels: LabelSet) -> str:
    """The flag that maps raw values to ids."""
    entries = (f"{value}={labels.names[index]}" for value, index in sorted(ids.items()))
    return "--label_map " + " ".join(f'"{e}"' if " " in e else e for e in entries)


def _listed(values: Iterable[int]) -> str:
    ordered = sorted(values)
    return ", ".join(map(str, ordered[:8])) + (", ..." if len(ordered) > 8 else "")


def are_swapped(pairs: Sequence[tuple[Image.Image, StoredMask]]) -> bool:
    """Whether all sampled images are flat as masks and all masks colorful as photos."""
    return bool(pairs) and all(
        isinstance(mask, Image.Image) and _is_flat(image) and not _is_flat(mask)
        for image, mask in pairs
    )


def _is_flat(image: Image.Image) -> bool:
    return image.convert("RGB").getcolors(maxcolors=_MOST_MASK_COLORS) is not None


# ---- after decoding ----


def check_classes(facts: "Mapping[str, datasets.Dataset]", opened: "OpenedDataset") -> list[str]:
    """Findings from the ids of all masks: a single class, 255 in place of a class, ids from 1."""
    labels = opened.labels
    pixels = sum((class_pixels(rows) for rows in facts.values()), np.zeros(256, dtype=np.int64))
    if len(labels) < 2:
        return [only_class(labels, pixels)]
    if not opened.guessed or "train" not in facts:
        return []
    occurring = set(np.flatnonzero(pixels[: len(labels)]).tolist())
    absent = [index for index in range(len(labels)) if index not in occurring]
    ignored = pixels[labels.ignore_index] / max(pixels.sum(), 1)
    if absent and occurring and (ignored >= _OFTEN or (len(occurring) == 1 and ignored > 0)):
        name = labels.names[absent[-1]]
        flag = label_map_flag({labels.ignore_index: absent[-1]}, labels)
        return [
            f"{100 * ignored:.0f} % of the pixels are {labels.ignore_index}, which is read as "
            f"ignored, and class {name!r} never occurs: if {labels.ignore_index} means {name!r}, "
            f"give {flag}; if it does mean ignored, --label_map {labels.ignore_index}=ignore"
        ]
    if absent == [0] and len(labels) > 2:
        return [
            f"id 0 ({labels.names[0]!r}) never occurs in any mask, but all other ids do: ids may "
            f"start at 1, and then every name is off by one; {_shift(labels)}; if the ids are "
            f"right, give --label_map 0={labels.names[0]}"
        ]
    return []


def only_class(labels: LabelSet, pixels: np.ndarray | None = None) -> str:
    """What is wrong with data of one class, where a mean IoU of 1 means nothing.

    Args:
        pixels: (256,) of each id, if they are known.
    """
    name, ignored = labels.names[0], labels.ignore_index
    text = (
        f"{name!r} is the only class, so there is nothing to distinguish it from, and any "
        "model would score 1; add a background class as well, as the first line of classes.txt "
        "(or the first class of another table)"
    )
    if pixels is None or not pixels[ignored]:
        return text
    flag = label_map_flag({ignored: 0}, labels)
    return (
        f"{text}; {100 * pixels[ignored] / pixels.sum():.0f} % of the pixels are {ignored}, which "
        f"is read as ignored: if {ignored} means {name!r}, give {flag} as well"
    )


def class_pixels(facts: "datasets.Dataset") -> np.ndarray:
    """(256,) int64: pixels of each id in a split."""
    pixels = np.zeros(256, dtype=np.int64)
    for ids, counts in zip(facts["ids"][:], facts["pixels"][:], strict=True):
        pixels[ids] += np.asarray(counts, dtype=np.int64)
    return pixels


def warnings(
    facts: "Mapping[str, datasets.Dataset]",
    labels: LabelSet,
    names: Mapping[str, Sequence[str]],
    divided_by: str | None = None,
) -> list[str]:
    """Findings that do not stop training but look wrong or misleading.

    Args:
        names: of the samples of each split.
        divided_by: how hfseg divided the data, `random`, `time` or `group`; None: it has splits.
    """
    return [
        *_small_splits(facts, divided_by),
        *_absent_classes(facts, labels),
        *_one_class(facts, labels),
        *_specks(facts, names),
        *_near_duplicates(facts, divided_by),
        *_dark(facts),
    ]


def _small_splits(facts: "Mapping[str, datasets.Dataset]", divided_by: str | None) -> list[str]:
    small = {
        split: counted(len(rows), "image")
        for split, rows in facts.items()
        if split != "train" and len(rows) < _FEW
    }
    if divided_by is None or not small:
        return []
    return [
        f"{' and '.join(f'{split} has only {images}' for split, images in small.items())}, so "
        f"{'its score is' if len(small) == 1 else 'their scores are'} not very meaningful: label "
        "more images, or hold out more of them (--train_val_test_split)"
    ]


def _absent_classes(facts: "Mapping[str, datasets.Dataset]", labels: LabelSet) -> list[str]:
    counts = {split: class_pixels(rows) for split, rows in facts.items()}
    found, never = [], []
    for index, name in enumerate(labels.names):
        where = [split for split, pixels in counts.items() if pixels[index]]
        if not where and "train" in counts:
            never.append(f"{name!r} ({index})")
        elif "train" in counts and "train" not in where:
            found.append(
                f"class {name!r} ({index}) occurs in {', '.join(where)} only, not in train: it "
                "can't be learned"
            )
    if len(never) == 1:
        found.append(f"class {never[0]} never occurs")
    elif never:
        found.append(f"{len(never)} of {len(labels)} classes never occur: {', '.join(never)}")
    return found


def _one_class(facts: "Mapping[str, datasets.Dataset]", labels: LabelSet) -> list[str]:
    found = []
    for split, rows in facts.items():
        kinds = Counter(tuple(i for i in ids if i != labels.ignore_index) for ids in rows["ids"][:])
        if kinds[()]:
            found.append(f"{split}: in {kinds[()]} of {len(rows)} masks every pixel is ignored")
        for index, name in enumerate(labels.names):
            if len(rows) > 1 and 2 * kinds[(index,)] > len(rows) and len(labels) > 1:
                found.append(
                    f"{split}: {kinds[(index,)]} of {len(rows)} masks contain only {name!r}: "
                    "they may not be labeled yet, or were exported without their shapes; leave "
                    "such images out unless nothing else is in them"
                )
    return found


def _specks(
    facts: "Mapping[str, datasets.Dataset]", names: Mapping[str, Sequence[str]]
) -> list[str]:
    found = []
    for split, rows in facts.items():
        columns = rows["specks"][:], rows["pixels"][:], names[split]
        for specks, pixels, name in zip(*columns, strict=True):
            if has_many_specks(specks or 0, sum(pixels)):
                found.append((specks, name))
    if not found:
        return []
    most, where = max(found)
    return [
        f"{len(found)} of {sum(map(len, facts.values()))} masks have many specks of a single pixel "
        f"({where} has the most, {most}); {ORIGIN_OF_SPECKS}"
    ]


_APART = {
    None: "so scores are too good: move them into one split",
    "random": "so scores are too good; --split_by time or --split_by group keeps them apart",
    "time": "as a few are where two splits of a video meet",
    "group": "so scores are too good, and their names show no group: divide the data yourself",
}
"""What near-duplicates in two splits mean, by how the data was divided."""


def _near_duplicates(facts: "Mapping[str, datasets.Dataset]", divided_by: str | None) -> list[str]:
    """Images of other splits that resemble training images, by their perceptual hashes."""
    if "train" not in facts:
        return []
    trained = _looks(facts["train"])
    found = []
    for split, rows in facts.items():
        if split == "train":
            continue
        alike = sum(int((part @ trained.T >= _ALIKE).any(axis=1).sum()) for part in _parts(rows))
        if alike:
            found.append(
                f"{alike} of {len(rows)} images of {split} are near-duplicates of training images, "
                f"{_APART[divided_by]}"
            )
    return found


def _looks(facts: "datasets.Dataset") -> np.ndarray:
    """(N, 128) float32 of 1 and -1: the hashes of the images that have one.

    The product of two is 128 less twice the number of bits in which they differ.
    """
    looks = [bytes.fromhex(look) for look in facts["look"][:] if look]
    bits = np.unpackbits(np.frombuffer(b"".join(looks), dtype=np.uint8))
    return bits.reshape(-1, 128).astype(np.float32) * 2 - 1


def _parts(facts: "datasets.Dataset") -> Iterator[np.ndarray]:
    """`_looks`, a few hundred at a time, so that memory stays flat."""
    looks = _looks(facts)
    yield from (looks[start : start + 256] for start in range(0, len(looks), 256))


def _dark(facts: "Mapping[str, datasets.Dataset]") -> list[str]:
    peaks = [peak for rows in facts.values() for peak in rows["peak"][:] if peak is not None]
    if not peaks or max(peaks) >= _DARK:
        return []
    return [
        f"{len(peaks)} 16-bit images use only {100 * max(peaks):.1f} % of their range and are "
        "nearly black: scale their values to 0-65535, for training and for prediction"
    ]


# ---- what the classes are ----


def class_list(opened: "OpenedDataset") -> str:
    """The classes and the ignored values, in one line."""
    labels = opened.labels
    names = ", ".join(f"{index} {name}" for index, name in enumerate(labels.names))
    ignored = [str(labels.ignore_index)]
    ignored += [f"{name!r} (by its name)" for name in opened.ignored]
    return f"{len(labels)} classes: {names}; ignored: {', '.join(ignored)}"


def unnamed_values(where: object, values: set[int]) -> None:
    """Reject masks without a table of classes if their values can't be ids.

    Raises:
        UserError: only 0 (and 255), ids from 1, or ids multiplied by a factor.
    """
    found = values - {255}
    if found <= {0} and 255 in values:
        raise UserError(
            f"{where}: the masks contain only 0 and 255, and 255 means ignored; if it is a class, "
            "give --label_map 0=background 255=NAME"
        )
    if found <= {0}:
        raise UserError(
            f"{where}: the masks contain no class but 0; write classes as 0, 1, 2, ..., or put a "
            "classes.csv with the columns `Pixel Value, Class` into the data folder"
        )
    pairs = " ".join(f"{value}=NAME" for value in sorted(found))
    if len(found) > 1 and found == set(range(1, len(found) + 1)):
        raise UserError(
            f"{where}: ids seem to start at 1: the masks contain {_listed(found)} but never 0; "
            f"name them with --label_map {pairs} (0=NAME as well if 0 is a class)"
        )
    factor = factor_of(values)
    if factor:
        pairs = " ".join(f"{value}=NAME" for value in sorted(values))
        raise UserError(
            f"{where}: the masks contain {_listed(values)}, as if ids had been stretched over "
            f"the gray range; define them with --label_map {pairs}"
        )
