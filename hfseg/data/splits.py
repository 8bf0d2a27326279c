"""Divide samples into train, validation and test."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TypeVar

from hfseg.errors import UserError

Item = TypeVar("Item")
SPLITS = ("train", "validation", "test")
WHOLE = "whole"
"""The name of the only split of data that has not been divided yet."""
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)

# What folders of other tools call the three splits.
SPLIT_ALIASES = {
    "train": ("train", "training", "trainval"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}


def parse_fractions(text: str | Sequence[float]) -> tuple[float, ...]:
    """`"0.8,0.1,0.1"` -> (0.8, 0.1, 0.1); two or three fractions that add up to 1."""
    try:
        parts = text.split(",") if isinstance(text, str) else text
        fractions = tuple(float(part) for part in parts)
    except (ValueError, TypeError):  # TypeError: a recipe may hold anything
        fractions = ()
    if len(fractions) not in (2, 3) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"--train_val_test_split {text!r}: give two or three fractions that add up to 1, "
            "such as 0.8,0.1,0.1"
        )
    return fractions


@dataclass(frozen=True)
class SplitPlan:
    """How data without splits of its own is divided.

    Args:
        fractions: of train, validation and optionally test.
        seed: of the random and the group split.
        by: None: at random; `time`: in order of the names; `group`: samples that belong together
            (`group_of`) stay in one split.
    """

    fractions: tuple[float, ...] = DEFAULT_FRACTIONS
    seed: int = 42
    by: str | None = None

    def __post_init__(self) -> None:
        if self.by not in (None, "time", "group"):
            raise UserError(f"--split_by {self.by!r}: choose time or group")

    def divide(self, items: Sequence[Item], names: Sequence[str]) -> dict[str, list[Item]]:
        """Items by split; `names` are their paths or keys, which determine order and groups."""
        if self.by == "time":
            ranked = sorted(zip(names, items, strict=True), key=lambda pair: natural_key(pair[0]))
            return split_in_order([item for _, item in ranked], self.fractions)
        if self.by == "group":
            return split_by_group(items, names, self.fractions, self.seed)
        return split_at_random(items, names, self.fractions, self.seed)

    def complete(self, splits: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, list[int]]]:
        """The origin of each split: a given split, and which of its samples.

        An undivided dataset (`WHOLE`) is divided; if there are only train and test, part of train
        becomes the validation split.

        Args:
            splits: the names of the samples of each split.
        """
        if list(splits) == [WHOLE]:
            names = splits[WHOLE]
            parts = self.divide(range(len(names)), names)
            return {split: (WHOLE, list(part)) for split, part in parts.items()}
        result = {split: (split, list(range(len(names)))) for split, names in splits.items()}
        if set(splits) != {"train", "test"} or len(splits["train"]) < 2:
            return result
        train, validation = self.fractions[:2]
        plan = replace(
            self, fractions=(train / (train + validation), validation / (train + validation))
        )
        parts = plan.divide(range(len(splits["train"])), splits["train"])
        return result | {split: ("train", list(part)) for split, part in parts.items()}


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts frame_9 before frame_10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts]


def group_of(name: str) -> str:
    """The group of a file, by its name.

    Copies that Roboflow made of one image (`NAME.rf.HASH.jpg`) form a group; other files belong to
    their sequence, which is the folder and the name without its last number.
    """
    path = PurePath(name)
    stem = path.name.rsplit(".", 1)[0] if path.suffix else path.name
    if ".rf." in stem:
        return stem.split(".rf.")[0]
    return str(path.parent / re.sub(r"[\s_.\-]*\d+$", "", stem))


def split_in_order(
    items: Sequence[Item], fractions: Sequence[float] = DEFAULT_FRACTIONS
) -> dict[str, list[Item]]:
    """First train, then validation, then test: for video frames.

    With too few items for all, validation takes precedence over test.
    """
    cuts = [round(sum(fractions[:index]) * len(items)) for index in range(len(fractions))]
    if fractions[1] > 0 and len(items) > 1:
        cuts[1] = min(cuts[1], len(items) - 1)
        cuts[2:] = [max(cut, cuts[1] + 1) for cut in cuts[2:]]
    cuts.append(len(items))
    parts = {
        name: list(items[start:end])
        for name, start, end in zip(SPLITS, cuts[:-1], cuts[1:], strict=False)
    }
    return {name: part for name, part in parts.items() if part}


def split_at_random(
    items: Sequence[Item],
    keys: Sequence[str],
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int = 42,
) -> dict[str, list[Item]]:
    """A seeded split that depends only on the keys, not on their order or the machine.

    Items are ordered by a hash of (seed, key), so the same files are always in the same split.
    """
    if len(set(keys)) != len(keys):
        raise UserError("some samples have the same name; rename them, so that they can be split")
    ranked = sorted(
        zip(keys, items, strict=True),
        key=lambda pair: hashlib.sha256(f"{seed}/{pair[0]}".encode()).hexdigest(),
    )
    parts = split_in_order(ranked, fractions)
    # within a split the order is by name: readable, and stable too
    return {
        name: [item for _, item in sorted(part, key=lambda p: p[0])] for name, part in parts.items()
    }


def split_by_group(
    items: Sequence[Item],
    names: Sequence[str],
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int = 42,
) -> dict[str, list[Item]]:
    """Complete groups (`group_of`), largest first, each to the split that lacks the most samples.

    No split is left empty; the seed decides between groups of equal size.

    Raises:
        UserError: fewer groups than splits.
    """
    groups: dict[str, list[tuple[str, Item]]] = {}
    for name, item in zip(names, items, strict=True):
        groups.setdefault(group_of(name), []).append((name, item))
    targets = {
        split: fraction * len(items)
        for split, fraction in zip(SPLITS, fractions, strict=False)
        if fraction > 0
    }
    if len(groups) < len(targets):
        raise UserError(
            f"--split_by group: the names form only {len(groups)} group(s) (such as "
            f"{next(iter(groups), '')!r}) for {len(targets)} splits; use --split_by time"
        )
    parts: dict[str, list[tuple[str, Item]]] = {split: [] for split in targets}
    ranked = sorted(
        groups,
        key=lambda g: (-len(groups[g]), hashlib.sha256(f"{seed}/{g}".encode()).hexdigest()),
    )
    for index, group in enumerate(ranked):
        empty = [split for split in targets if not parts[split]]
        choice = empty if len(ranked) - index <= len(empty) else targets
        neediest = max(choice, key=lambda split: targets[split] - len(parts[split]))
        parts[neediest] += groups[group]
    return {
        split: [item for _, item in sorted(part, key=lambda pair: pair[0])]
        for split, part in parts.items()
    }
