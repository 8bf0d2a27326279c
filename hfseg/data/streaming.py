"""Training on a Hub dataset without downloading it first."""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node
from torch.utils.data import IterableDataset

from hfseg.data.hub import HubDataset
from hfseg.data.rows import Row, features
from hfseg.data.samples import Sample, resize_pair
from hfseg.data.transforms import TrainingTransform
from hfseg.errors import UserError

if TYPE_CHECKING:
    from transformers import SegformerImageProcessor

SHUFFLE_BUFFER = 128
"""Encoded samples among which the next one is drawn; each worker holds as many."""


def training_stream(
    data: HubDataset, skip_bad_samples: bool, seed: int = 0
) -> datasets.IterableDataset:
    """The training split as a shuffled stream with the columns `image`, `label` and `key`.

    `key` is a checksum of the stored image. It replaces the index, since the samples of a stream
    that is divided among processes and workers have no positions.
    """
    columns = datasets.Features({**features(), "key": datasets.Value("int64")})
    # shuffled before anything is decoded, so that the buffer holds files and not pixels
    raw = data.splits["train"].shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
    stream = raw.map(
        _ReadRow(data.without_splits(), skip_bad_samples),
        remove_columns=[data.image_column, data.label_column],
        features=columns,
    )
    return stream.filter(_was_read, input_columns=["key"]) if skip_bad_samples else stream


@dataclass(frozen=True)
class _ReadRow:
    """A raw row -> the columns of the stream; an object, so that it can be pickled."""

    data: HubDataset
    skip: bool

    def __call__(self, row: Row) -> Row:
        try:
            sample = self.data.read_row(row, f"{self.data.name}, train")
        except UserError:
            if not self.skip:
                raise
            return {"image": None, "label": None, "key": None}
        stored = sample["image"]["bytes"] or str(sample["image"]["path"]).encode()
        pictures = {
            name: column.decode_example(sample[name]) for name, column in features().items()
        }
        return {**pictures, "key": zlib.crc32(stored)}


def _was_read(key: int | None) -> bool:
    return key is not None


class StreamedTrainingSamples(IterableDataset[Sample]):
    """Augmented samples of a stream, in endless passes over it.

    Every process gets its own part of the stream, and every worker of it its part of that; in one
    pass each sample is seen once by one of them. The randomness of a sample is a function of
    (seed, pass, key).

    Args:
        stream: from `training_stream`.
        transform: the augmentation.
        resize: a processor that first resizes image and mask, or None.
        rank, world_size: of this process.
        passes: how often the stream is read; None: endlessly.
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
    ) -> None:
        self.stream = split_dataset_by_node(stream, rank=rank, world_size=world_size)
        self.transform = transform
        self.resize = resize
        self.passes = passes

    def __iter__(self) -> Iterator[Sample]:
        epochs = itertools.count() if self.passes is None else range(self.passes)
        for epoch in epochs:
            self.stream.set_epoch(epoch)
            empty = True
            for row in self.stream:
                empty = False
                image, label = np.array(row["image"]), np.array(row["label"])
                if self.resize is not None:
                    image, label = resize_pair(image, label, self.resize)
                image, label = self.transform(image, label, epoch, row["key"])
                yield {"index": row["key"], "image": image, "label": label}
            if empty:  # more workers than files: this one has nothing to do
                return
