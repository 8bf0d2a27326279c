"""toyscapes: street scenes that the package draws itself (`hfseg.data.toyscapes`)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from hfseg.data import toyscapes
from hfseg.data.info import DatasetInfo
from hfseg.data.masks import StoredMask, encode_png
from hfseg.data.readers import ReadOptions
from hfseg.data.reading import cached, in_order
from hfseg.data.rows import Row, drawn_row
from hfseg.data.splits import SplitPlan
from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets

INFO = DatasetInfo(
    name="toyscapes",
    title="toyscapes",
    license="apache-2.0",
    license_note="drawn by hfseg itself, Apache 2.0 as hfseg is",
    homepage="",
    citation="",
    splits="400 scenes to train on, 80 to validate, 80 to test, each from a seed of its own",
    needs_data=False,
)


class Scenes:
    """The scenes of all splits, as an `OpenedDataset`."""

    splits = toyscapes.SPLITS
    labels = toyscapes.LABELS
    in_time = False
    ignored: tuple[str, ...] = ()
    guessed = False

    def names(self, split: str) -> list[str]:
        return [_name(split, index) for index in range(toyscapes.SPLITS[split])]

    def look(self) -> Iterator[tuple[Image.Image, StoredMask]]:
        return iter(())

    def divide(
        self, names: Mapping[str, Sequence[str]], plan: SplitPlan
    ) -> dict[str, tuple[str, list[int]]]:
        return {split: (split, list(range(len(rows)))) for split, rows in names.items()}

    def build(self, split: str, workers: int | None = None) -> "datasets.Dataset":
        """Drawn once, and cached under a hash of the code that draws."""
        code = [path.read_bytes() for path in sorted(Path(toyscapes.__file__).parent.glob("*.py"))]
        rows = in_order(split, Drawing(split), workers)
        return cached(split, rows, [toyscapes.SPLITS, *code])


def read(folder: Path | None, options: ReadOptions) -> Scenes:
    """The scenes; there are no options."""
    if options.label_map:
        raise UserError("--label_map: toyscapes has no mask files; leave the flag out")
    return Scenes()


def _name(split: str, index: int) -> str:
    return f"{split}_{index:03d}.png"


@dataclass(frozen=True)
class Drawing:
    """The scenes of a split, as `rows.Samples`."""

    split: str

    def __len__(self) -> int:
        return toyscapes.SPLITS[self.split]

    def __getitem__(self, index: int) -> Row:
        image, ids = toyscapes.draw_scene(self.split, index)
        return drawn_row(encode_png(image), ids, _name(self.split, index))
