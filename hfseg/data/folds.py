"""Folds: every sample is held out once, together with what belongs to it."""

import hashlib
from collections.abc import Sequence

import numpy as np

from hfseg.data.readers import dataset_info
from hfseg.data.splits import group_of, natural_key
from hfseg.errors import UserError


def fold_numbers(
    names: Sequence[str], folds: int, by: str | None = None, seed: int = 42
) -> list[int]:
    """The fold of each sample, 0 to `folds` - 1; folds are as equal as groups allow.

    Args:
        names: of the samples' files, from which order and groups follow.
        by: None: at random, by a hash of (seed, name); `time`: in the order of the names, each
            fold without gaps; `group`: what `group_of` keeps together is in one fold.

    Raises:
        UserError: fewer than two folds, or fewer samples or groups than folds.
    """
    keys = [group_of(name) for name in names] if by == "group" else list(names)
    if not 2 <= folds <= len(set(keys)):
        kind = "groups" if by == "group" else "images"
        raise UserError(
            f"--folds {folds}: {len(set(keys))} {kind} allow 2 to {len(set(keys))} folds"
        )
    if by == "group":
        return _by_group(keys, folds, seed)
    order = sorted(range(len(names)), key=lambda index: natural_key(names[index]))
    if by is None:
        order.sort(key=lambda index: _hash(seed, names[index]))
    numbers = np.empty(len(names), dtype=np.int64)
    for fold, members in enumerate(np.array_split(order, folds)):
        numbers[members] = fold
    return numbers.tolist()


def belonging(names: Sequence[str], dataset_name: str | None, split_by: str | None) -> str | None:
    """What decides which samples belong together: `--split_by`, or what is known of the data."""
    info = dataset_info(dataset_name) if dataset_name else None
    if split_by is not None or info is None or not info.video:
        return split_by or ("group" if any(".rf." in name for name in names) else None)
    return "time"


def _by_group(keys: Sequence[str], folds: int, seed: int) -> list[int]:
    """The largest group first, each to the smallest fold so far."""
    sizes = {key: 0 for key in keys}
    for key in keys:
        sizes[key] += 1
    fold_sizes, fold_of = [0] * folds, {}
    for key in sorted(sizes, key=lambda key: (-sizes[key], _hash(seed, key))):
        fold_of[key] = fold_sizes.index(min(fold_sizes))
        fold_sizes[fold_of[key]] += sizes[key]
    return [fold_of[key] for key in keys]


def _hash(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}/{key}".encode()).hexdigest()
