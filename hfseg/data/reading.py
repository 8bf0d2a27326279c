"""Reads and checks all samples once, in several processes, and keeps the result in the cache.

The name of a cached dataset is a hash of what identifies its data and of how it is decoded, so
that a changed file is noticed, and the second start reads nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from hfseg.data.rows import CACHE_VERSION, Row, bad_row, fact_features, features
from hfseg.data.splits import WHOLE
from hfseg.data.workers import reading_workers
from hfseg.errors import UserError
from hfseg.progress import track

if TYPE_CHECKING:
    import datasets

Rows = Callable[[], Iterator[Row]]
"""Reads all rows."""

_READ_AT_ONCE = 16
"""Samples that a worker sends at once."""


class Samples(Protocol):
    """Samples that are not read yet. They can be pickled, for the processes that read."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Row:
        """Read one.

        Raises:
            UserError: it can't be used.
        """
        ...


def cached(
    split: str, rows: Rows, identity: object, columns: dict[str, Any] | None = None
) -> "datasets.Dataset":
    """Rows as a dataset in the cache, from where they are read the next time.

    Args:
        rows: from `in_order`.
        identity: what identifies the data in the cache.
        columns: None: `image`, `label` and the `FACTS`.
    """
    import datasets
    from datasets.fingerprint import Hasher

    with _quiet_datasets():
        return datasets.Dataset.from_generator(
            rows,
            features=datasets.Features(columns or {**features(), **fact_features()}),
            split=datasets.NamedSplit(split),
            fingerprint=Hasher.hash((split, identity, CACHE_VERSION)),
        )


def in_order(split: str, samples: Samples, workers: int | None = None) -> Rows:
    """Reads all samples, with progress; one that can't be used becomes a row with a `problem`.

    Args:
        workers: processes that read; None: `reading_workers`.
    """

    def rows() -> Iterator[Row]:
        count = reading_workers(len(samples), workers)
        reading = _with_workers(samples, count) if count else _here(samples)
        doing = "reading" if split == WHOLE else f"reading {split}"
        return track(reading, doing, len(samples))

    return rows


def _here(samples: Samples) -> Iterator[Row]:
    return (_read(partial(samples.__getitem__, index)) for index in range(len(samples)))


def _with_workers(samples: Samples, count: int) -> Iterator[Row]:
    import torch
    from torch.utils.data import DataLoader

    loader: DataLoader = DataLoader(
        _Reading(samples),  # type: ignore[arg-type]
        batch_size=_READ_AT_ONCE,
        collate_fn=list,
        num_workers=count,
        generator=torch.Generator(),  # a run draws the same with and without a cache
    )
    for rows in loader:
        yield from rows


class _Reading:
    """`Samples` whose problems are rows too."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Row:
        return _read(partial(self.samples.__getitem__, index))


def _read(read: Callable[[], Row]) -> Row:
    try:
        return read()
    except UserError as error:
        return bad_row(error)


@contextmanager
def _quiet_datasets() -> Iterator[None]:
    """Without the progress bars of `datasets`, which show internal steps."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
