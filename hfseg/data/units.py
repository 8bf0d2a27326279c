"""Which images of a split are independent, as a confidence interval requires.

Frames of a video and copies of one image resemble each other, so a model that gets one right also
gets its neighbors right. If they counted as independent, intervals would be far too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hfseg.data.readers import dataset_info
from hfseg.data.rows import file_names
from hfseg.data.splits import group_of, natural_key

if TYPE_CHECKING:
    import datasets

_ENOUGH_SEQUENCES = 10


@dataclass(frozen=True)
class Units:
    """Sets of images that are independent of each other.

    Attributes:
        one, many: what a unit is called, singular and plural.
        of_image: unit of each sample index; None: every image is a unit of its own.
    """

    one: str = "image"
    many: str = "images"
    of_image: Sequence[int] | None = None

    def counted(self, number: int) -> str:
        """`7 blocks of consecutive frames`."""
        return f"{number} {self.one if number == 1 else self.many}"


IMAGES = Units()


def units_of(rows: "datasets.Dataset", dataset_name: str | None, split_by: str | None) -> Units:
    """The units of a split: sequences or blocks in time, groups, or images.

    Video (known of the dataset, or `--split_by time`): whole sequences if there are at least
    ten. Otherwise blocks of consecutive frames, as many as a block has frames, as batch means do
    (Flegal & Jones, "Batch means and spectral variance estimators in Markov chain Monte Carlo",
    Annals of Statistics 38, 2010). Groups (`--split_by group`, or copies that Roboflow
    made): what `group_of` keeps together.

    Args:
        rows: a `datasets.Dataset`; the file names of its column `image` say what belongs together.
            Without names every image is a unit.
    """
    names = file_names(rows)
    if names is None:
        return IMAGES
    info = dataset_info(dataset_name) if dataset_name else None
    if split_by == "time" or (info is not None and info.video):
        return _units_of_video(names)
    if split_by == "group" or any(".rf." in name for name in names):
        return Units("group", "groups", _numbered([group_of(name) for name in names]))
    return IMAGES


def _units_of_video(names: Sequence[str]) -> Units:
    sequences = [group_of(name) for name in names]
    if len(set(sequences)) >= _ENOUGH_SEQUENCES:
        return Units("sequence", "sequences", _numbered(sequences))
    length = max(1, round(len(names) ** 0.5))
    of_image = np.zeros(len(names), dtype=np.int64)
    count = 0
    for sequence in sorted(set(sequences)):
        frames = [index for index, found in enumerate(sequences) if found == sequence]
        frames.sort(key=lambda index: natural_key(names[index]))
        for block in np.array_split(frames, max(1, round(len(frames) / length))):
            of_image[block] = count
            count += 1
    return Units("block of consecutive frames", "blocks of consecutive frames", of_image.tolist())


def _numbered(keys: Sequence[str]) -> list[int]:
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    return [numbers[key] for key in keys]
