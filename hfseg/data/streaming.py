"""Training and evaluation on a dataset without downloading it first."""

import itertools
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node
from torch.utils.data import IterableDataset, get_worker_info

from hfseg.data.hub import HubDataset
from hfseg.data.rows import Row, features
from hfseg.data.samples import Sample, resize_label, resize_pair
from hfseg.data.transforms import Size, TrainingTransform
from hfseg.errors import UserError

if TYPE_CHECKING:
    from transformers import SegformerImageProcessor

SHUFFLE_BUFFER = 128
"""Encoded samples that are drawn from at a time; each worker holds as many."""


def streamed(data: HubDataset, split: str, skip_bad_samples: bool) -> datasets.IterableDataset:
    """A split as a stream with the columns `image`, `label` and `key`, in its order.

    `key` is a checksum of the stored image. It replaces the index, since the samples of a stream
    that is divided among processes and workers have no positions.
    """
    raw = data.splits[split]
    stream = raw.map(
        _ReadRow(data.without_splits(), split, skip_bad_samples),
        remove_columns=[data.image_column, data.label_column],
    )
    if skip_bad_samples:
        stream = stream.filter(_was_read, input_columns=["key"])
    # after the map, whose own `features` would leave the images encoded for everybody
    return stream.cast(datasets.Features({**features(), "key": datasets.Value("int64")}))


@dataclass(frozen=True)
class _ReadRow:
    """A raw row -> the columns of the stream, encoded; an object, so that it can be pickled."""

    data: HubDataset
    split: str
    skip: bool

    def __call__(self, row: Row) -> Row:
        try:
            sample = self.data.read_row(row, f"{self.data.name}, {self.split}")
        except UserError:
            if not self.skip:
                raise
            return {"image": None, "label": None, "key": None}
        stored = sample["image"]["bytes"] or str(sample["image"]["path"]).encode()
        return {"image": sample["image"], "label": sample["label"], "key": zlib.crc32(stored)}


def _was_read(key: int | None) -> bool:
    return key is not None


@dataclass(frozen=True)
class StreamPosition:
    """How far a worker has read.

    Attributes:
        epoch: the pass over the stream.
        block: `SHUFFLE_BUFFER` samples are read at a time and shuffled; this one of the pass.
        stream: the state of the stream at the start of the block; None: the start of the pass.
        drawn: samples of the block that were drawn.
    """

    epoch: int = 0
    block: int = 0
    stream: dict[str, Any] | None = None
    drawn: int = 0


@dataclass
class StreamStart:
    """Where the workers of a process begin.

    Attributes:
        positions: of the workers, by number.
        turn: the worker that gives the first batch.
        batch_size: samples in a batch.
    """

    positions: dict[int, StreamPosition] = field(default_factory=dict)
    turn: int = 0
    batch_size: int = 1


class StreamedTrainingSamples(IterableDataset[Sample]):
    """Augmented samples of a stream, in endless passes over it.

    Every process gets its own part of the stream, and every worker of it its part of that; in one
    pass each sample is seen once by one of them. The randomness of a sample is a function of
    (seed, pass, key); the order of the files is one of (seed, pass), and within a block of samples
    also of the worker. So a worker can continue where another one was stopped, with the position
    that each sample has as its `position`.

    Args:
        stream: from `streamed`.
        transform: the augmentation.
        resize: a processor that first resizes image and mask, or None.
        rank, world_size: of this process.
        passes: how often the stream is read; None: endlessly.
        seed: of the order.

    Attributes:
        start: where the workers begin.
    """

    def __init__(
        self,
        stream: datasets.IterableDataset,
        transform: TrainingTransform,
        resize: "SegformerImageProcessor | None" = None,
        *,
        rank: int = 0,
        world_size: int = 1,
        passes: int | None = None,
        seed: int = 0,
    ) -> None:
        self.stream = split_dataset_by_node(stream, rank=rank, world_size=world_size)
        self.transform = transform
        self.resize = resize
        self.rank = rank
        self.passes = passes
        self.seed = seed
        self.start = StreamStart()

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        if worker < self.start.turn:  # it has had its turn: a batch of nothing
            yield from itertools.repeat({}, self.start.batch_size)
        position = self.start.positions.get(worker, StreamPosition())
        while self.passes is None or position.epoch < self.passes:
            empty = True
            for row, after in self._pass(position, worker):
                empty = False
                yield {**self._sample(row, position.epoch), "position": after}
            if empty and position == StreamPosition(position.epoch):
                return  # more workers than files: this one has nothing to do
            position = StreamPosition(position.epoch + 1)

    def _pass(self, position: StreamPosition, worker: int) -> Iterator[tuple[Row, StreamPosition]]:
        """The rest of a pass: encoded rows, each with the position after it."""
        stream = _encoded(self.stream)
        # never 0, with which `datasets` would not shuffle the files
        stream.set_epoch(int(np.random.default_rng((self.seed, position.epoch)).integers(1, 2**31)))
        if position.stream is not None:
            stream.load_state_dict(position.stream)
        rows, state, drawn = iter(stream), position.stream, position.drawn
        for block in itertools.count(position.block):
            held = list(itertools.islice(rows, SHUFFLE_BUFFER))
            key = (self.seed, position.epoch, self.rank, worker, block)
            order = np.random.default_rng(key).permutation(len(held)).tolist()
            for number in range(drawn, len(held)):
                yield (
                    held[order[number]],
                    StreamPosition(position.epoch, block, state, number + 1),
                )
            if len(held) < SHUFFLE_BUFFER:
                return
            state, drawn = stream.state_dict(), 0

    def _sample(self, row: Row, epoch: int) -> Sample:
        image, label = _decoded(row)
        if self.resize is not None:
            image, label = resize_pair(image, label, self.resize)
        image, label = self.transform(image, label, epoch, row["key"])
        return {"index": row["key"], "image": image, "label": label}


class StreamedEvaluationSamples(IterableDataset[Sample]):
    """The samples of a stream as they are, each once, by one worker of one process.

    Files are divided among the workers of all processes. Where there are fewer files than workers,
    several read the same file, and each takes every n-th sample of it. `index` grows along the
    stream: it is the number of the file, and the sample's in that.

    Args:
        stream: from `streamed`.
        label_size: as of `EvaluationSamples`.
        rank, world_size: of this process.
        in_order: every worker reads the stream from its start, as one that `take` has cut.
    """

    def __init__(
        self,
        stream: datasets.IterableDataset,
        label_size: Size | None = None,
        *,
        rank: int = 0,
        world_size: int = 1,
        in_order: bool = False,
    ) -> None:
        self.stream = stream
        self.files = 1 if in_order else stream.num_shards
        self.label_size = label_size
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        number, count = self.rank * workers + worker, self.world_size * workers
        for file in range(number % self.files, self.files, count):
            readers = len(range(file, count, self.files)) or 1
            part = _encoded(self.stream.shard(self.files, file))
            # not `iter`, which divides the files among workers too
            rows = enumerate(part.iter(batch_size=1))
            for place, row in itertools.islice(rows, number // self.files, None, readers):
                image, label = _decoded({name: values[0] for name, values in row.items()})
                if self.label_size is not None:
                    label = resize_label(label, self.label_size)
                yield {"index": file << 32 | place, "image": image, "label": label}


def rows_at(stream: datasets.IterableDataset, places: Collection[int]) -> dict[int, Row]:
    """Some samples by their place in a stream, which is read up to the last of them."""
    stored = enumerate(itertools.islice(_encoded(stream), max(places) + 1))
    return {
        place: {name: each.decode_example(row[name]) for name, each in features().items()}
        for place, row in stored
        if place in places
    }


def _encoded(stream: datasets.IterableDataset) -> datasets.IterableDataset:
    for column in features():
        stream = stream.cast_column(column, datasets.Image(decode=False))
    return stream


def _decoded(row: Row) -> tuple[np.ndarray, np.ndarray]:
    image, label = (np.array(features()[name].decode_example(row[name])) for name in features())
    return image, label
