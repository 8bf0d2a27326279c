"""What every reader returns: a dataset that was found, before its samples are read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

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
        guessed: values are taken for ids without a table of values, so `first_aid` has a look.
    """

    splits: Mapping[str, Any]
    labels: LabelSet
    in_time: bool
    ignored: tuple[str, ...]
    guessed: bool

    def names(self, split: str) -> Sequence[str]:
        """What the samples of a split are called; it decides how they are divided."""
        ...

    def look(self) -> Iterator[tuple[Image.Image, Any]]:
        """A few images, and their masks as they are stored."""
        ...

    def divide(
        self, names: Mapping[str, Sequence[str]], plan: SplitPlan
    ) -> dict[str, tuple[str, list[int]]]:
        """What train, validation and test are made of, as `SplitPlan.complete` says it."""
        ...

    def build(self, split: str) -> "datasets.Dataset":
        """The split with the columns `image`, `label` and `rows.FACTS`."""
        ...
