"""How samples are divided into train, validation and test."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from hfseg.errors import UserError

Item = TypeVar("Item")
SPLITS = ("train", "validation", "test")
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)

# What folders of other tools call the three splits.
SPLIT_ALIASES = {
    "train": ("train", "training", "trainval"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}


def parse_fractions(text: str | Sequence[float]) -> tuple[float, ...]:
    """`"0.8,0.1,0.1"` -> (0.8, 0.1, 0.1); two or three shares that add up to 1."""
    try:
        parts = text.split(",") if isinstance(text, str) else text
        shares = tuple(float(part) for part in parts)
    except ValueError:
        shares = ()
    if len(shares) not in (2, 3) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(
            f"--train_val_test_split {text!r}: give two or three shares that add up to 1, "
            "such as 0.8,0.1,0.1"
        )
    return shares


def split_in_order(
    items: Sequence[Item], fractions: Sequence[float] = DEFAULT_FRACTIONS
) -> dict[str, list[Item]]:
    """The first share is train, the next validation, the last test: for video frames."""
    cuts = [0]
    for index in range(len(fractions)):
        cuts.append(round(sum(fractions[: index + 1]) * len(items)))
    cuts[-1] = len(items)
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
    """A seeded split that depends on the keys alone, not on the order or machine they come from.

    Items are ordered by a hash of (seed, key), so the same files always fall into the same split.
    """
    if len(set(keys)) != len(keys):
        raise UserError("samples to split need different names")
    ranked = sorted(
        zip(keys, items, strict=True),
        key=lambda pair: hashlib.sha256(f"{seed}/{pair[0]}".encode()).hexdigest(),
    )
    parts = split_in_order(ranked, fractions)
    # within a split the order is by name: readable, and stable too
    return {
        name: [item for _, item in sorted(part, key=lambda p: p[0])] for name, part in parts.items()
    }
