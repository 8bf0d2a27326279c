"""What every reader returns: a dataset whose samples are not read yet."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from hfseg.data.masks import StoredMask
from hfseg.data.splits import SplitPlan
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets


class OpenedDataset(Protocol):
    """A dataset that was found and is not decoded yet: from a folder, the Hub, or drawn.

    Attributes:
        splits: by name, or only `splits.WHOLE`.
        labels: names and colors of the classes.
        in_time: frames of a video; if they have to be divided, then in their order.
        ignored: names in the dataset's table that are not classes.
        guessed: values are assumed to be ids, without a table of values, so `first_aid` checks.
    """

    @property
    def splits(self) -> Mapping[str, object]: ...
    @property
    def labels(self) -> LabelSet: ...
    @property
    def in_time(self) -> bool: ...
    @property
    def ignored(self) -> tuple[str, ...]: ...
    @property
    def guessed(self) -> bool: ...

    def names(self, split: str) -> Sequence[str]:
        """What the samples of a split are called; it decides how they are divided."""
        ...

    def look(self) -> Iterator[tuple[Image.Image, StoredMask]]:
        """A few images, and their masks as they are stored."""
        ...

    def divide(
        self, names: Mapping[str, Sequence[str]], plan: SplitPlan
    ) -> dict[str, tuple[str, list[int]]]:
        """The rows of train, validation and test, as `SplitPlan.complete` returns them."""
        ...

    def build(self, split: str, workers: int | None = None) -> "datasets.Dataset":
        """The split with the columns `image`, `label` and `rows.FACTS`, read by `workers`."""
        ...
