"""Batches of a stream, and how far they have come: what a checkpoint needs to continue."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch.utils.data import DataLoader, get_worker_info

from hfseg.data.samples import Batch, Sample
from hfseg.data.streaming import (
    StreamedEvaluationSamples,
    StreamedTrainingSamples,
    StreamPosition,
    StreamStart,
)

logger = logging.getLogger("hfseg")


class StreamLoader(DataLoader):
    """A `DataLoader` of `StreamedTrainingSamples` that knows the position after each batch.

    `torchdata`'s `StatefulDataLoader` would save the shuffle buffers of all workers.

    Args:
        samples: of this process.
        collate: makes a batch of samples.
        options: as of `DataLoader`.

    Attributes:
        positions: worker -> where it is, after the last batch that was handed out.
        turn: the worker that gives the next batch.
    """

    def __init__(
        self,
        samples: StreamedTrainingSamples,
        collate: Callable[[Sequence[Any]], Any],
        batch_size: int,
        **options: Any,
    ) -> None:
        self.positions: dict[int, StreamPosition] = {}
        self.turn = 0
        super().__init__(
            samples,
            batch_size=batch_size,
            collate_fn=_WithPosition(collate),
            drop_last=True,
            generator=torch.Generator().manual_seed(0),
            **options,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for numbered in super().__iter__():
            if numbered is None:
                continue
            worker, position, batch = numbered
            self.positions[worker] = StreamPosition(**position)
            self.turn = (worker + 1) % max(self.num_workers, 1)
            yield batch

    def save(self, file: Path, world_size: int) -> None:
        """Write the positions of this process, one of `world_size`."""
        state = {
            "processes": [world_size, self.num_workers, self.batch_size],
            "turn": self.turn,
            "positions": {worker: asdict(each) for worker, each in self.positions.items()},
        }
        torch.save(state, file)

    def restore(self, file: Path, world_size: int) -> bool:
        """Continue from where `save` was called; whether that is possible.

        With other numbers of processes, workers or samples in a batch, the files are divided in
        another way: then the pass that was stopped begins again, and a warning says so.
        """
        saved = [file] if file.is_file() else sorted(file.parent.glob("stream_state_*.pth"))
        if not saved:
            return False  # a checkpoint of an earlier version
        file = saved[0]
        state = torch.load(file, weights_only=True)
        positions = {int(w): StreamPosition(**each) for w, each in state["positions"].items()}
        start = StreamStart(positions, state["turn"], self.batch_size or 1)
        if state["processes"] != [world_size, self.num_workers, self.batch_size]:
            logger.warning(
                "the run had %d processes with %d data workers and batches of %d: with others, the "
                "stream begins its pass again",
                *state["processes"],
            )
            epoch = min(each.epoch for each in positions.values())
            workers = range(max(self.num_workers, 1))
            start = StreamStart({worker: StreamPosition(epoch) for worker in workers})
        samples: Any = self.dataset
        samples.start = start
        self.positions, self.turn = dict(start.positions), start.turn
        return True


class _WithPosition:
    """Samples -> the worker, its position after them, and the batch; None for a batch of nothing.

    The position is a dictionary, as a worker's batch may be copied to pinned memory.
    """

    def __init__(self, collate: Callable[[Sequence[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> tuple[int, dict[str, Any], Any] | None:
        if not samples[-1]:
            return None
        info = get_worker_info()
        worker = 0 if info is None else info.id
        return worker, asdict(samples[-1]["position"]), self.collate(samples)


class StreamedEvaluationLoader(DataLoader):
    """Full batches of `StreamedEvaluationSamples`, as many on each process, which gather them.

    What is missing are repeated samples, whose index is -1.
    """

    def __init__(
        self,
        samples: StreamedEvaluationSamples,
        collate: Callable[[Sequence[Any]], Any],
        batch_size: int,
        **options: Any,
    ) -> None:
        super().__init__(
            samples,
            batch_size=batch_size,
            collate_fn=_Filled(collate, batch_size),
            generator=torch.Generator().manual_seed(0),
            **options,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        last: Batch | None = None
        while True:
            batch: Batch | None = next(batches, None)
            waiting = torch.tensor(float(batch is not None), device=PartialState().device)
            if not reduce(waiting):
                return
            if batch is None:
                batch = (last or self.collate_fn([])).copy()
                batch["index"] = torch.full_like(batch["index"], -1)
            last = batch
            yield batch


@dataclass(frozen=True)
class _Filled:
    """Samples -> a batch of that size."""

    collate: Callable[[Sequence[Any]], Any]
    batch_size: int

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        last = samples[-1] if samples else _NOTHING
        missing = self.batch_size - len(samples)
        return self.collate([*samples, *[{**last, "index": -1}] * missing])


_NOTHING: Sample = {
    "image": np.zeros((64, 64, 3), dtype=np.uint8),
    "label": np.zeros((64, 64), dtype=np.uint8),
}
