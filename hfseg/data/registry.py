"""`load_dataset`: one call for built-in data sets and a user's own."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.data.splits import DEFAULT_FRACTIONS, parse_fractions
from hfseg.errors import UserError
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

DATASETS = ("toyscapes", "camseq", "folder")


def load_dataset(
    name: str,
    source: str | None = None,
    split: str | None = None,
    *,
    train_val_test_split: str | Sequence[float] = DEFAULT_FRACTIONS,
    split_seed: int = 42,
    id2label: str | None = None,
) -> "tuple[datasets.DatasetDict, LabelSet]":
    """Read a data set into the columns `image` (RGB) and `label` (mode L: ids, 255 = ignored).

    Args:
        name: `toyscapes` (drawn by the package), `camseq`, or `folder`.
        source: the data's folder, in the official layout (`--dataset_path`).
        split: only this split (still inside a `DatasetDict`).
        train_val_test_split: shares, for a folder that has no splits of its own.
        split_seed: seed of that split.
        id2label: a file with class names, for `folder`.

    Returns:
        A `datasets.DatasetDict` with `train`, `validation` and perhaps `test`, and the `LabelSet`.

    Raises:
        UserError: an unknown name, a folder that isn't there, or a mask that can't be read.
    """
    import datasets

    from hfseg.data.pairs import build_split

    if name == "toyscapes":
        from hfseg.data import toyscapes

        parts = list(toyscapes.SPLITS) if split is None else [_known(split, toyscapes.SPLITS, name)]
        return datasets.DatasetDict({part: _draw(part) for part in parts}), toyscapes.LABELS
    if name not in DATASETS:
        close = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(DATASETS)}"
        raise UserError(f"--dataset_name {name!r} is not a data set hfseg knows; {hint}")
    if source is None:
        raise UserError(f"--dataset_name {name} needs --dataset_path, the folder with the data")
    if not Path(source).is_dir():
        raise UserError(f"--dataset_path {source}: no such folder")

    if name == "camseq":
        from hfseg.data import camseq

        pairs, labels, decoder = camseq.read(source)
    else:
        from hfseg.data import folder

        pairs, labels, decoder = folder.read(
            source, parse_fractions(train_val_test_split), split_seed, id2label
        )
    if split is not None:
        pairs = {split: pairs[_known(split, pairs, name)]}
    built = {part: build_split(part, files, decoder) for part, files in pairs.items()}
    return datasets.DatasetDict(built), labels


def _known(split: str, splits: Iterable[str], name: str) -> str:
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split


def _draw(split: str) -> "datasets.Dataset":
    """One split of toyscapes, drawn once and cached under a hash of the code that draws it."""
    from hfseg.data import toyscapes
    from hfseg.data.pairs import cached_dataset

    code = [path.read_bytes() for path in sorted(Path(toyscapes.__file__).parent.glob("*.py"))]
    rows = {"split": split, "count": toyscapes.SPLITS[split]}
    return cached_dataset(split, _scene_rows, rows, [toyscapes.SPLITS, *code])


def _scene_rows(split: str, count: int) -> Iterator[dict[str, Any]]:
    from hfseg.data import toyscapes
    from hfseg.data.masks import encode_png

    for index in range(count):
        image, label = toyscapes.draw_scene(split, index)
        yield {"image": {"bytes": encode_png(image)}, "label": {"bytes": encode_png(label)}}
