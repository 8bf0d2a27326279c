"""Rows of a Hub dataset as they are stored: encoded images, or nested lists."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hfseg.data.masks import StoredMask, open_image
from hfseg.data.rows import Row
from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets

Split: TypeAlias = "datasets.Dataset | datasets.IterableDataset"
"""A split as it is stored, with at least an image and a mask column."""

Places: TypeAlias = tuple[str, ...] | None
"""Folders and address prefixes whose files rows may name; None: the user's own rows, which may name
any file."""

SNIFFED = 8
"""Rows that are read to see how a column is stored."""


def is_image(feature: object) -> bool:
    """Whether a feature of a dataset is `datasets.Image`."""
    import datasets

    return isinstance(feature, datasets.Image)


def column_features(split: Split) -> dict[str, object]:
    """Feature by column; None for each where a stream does not know its features."""
    if split.features is not None:
        return dict(split.features)
    return dict.fromkeys(next(iter(split), {}))


def encoded(split: Split, *columns: str) -> Split:
    """Only these columns, with images left encoded."""
    import datasets

    if isinstance(split, datasets.IterableDataset) and split.features is not None:
        split = split.decode(False)  # a stream of files ignores a later cast
    split = split.select_columns(list(dict.fromkeys(columns)))
    for column in columns:
        if is_image(column_features(split).get(column)):
            split = split.cast_column(column, datasets.Image(decode=False))
    return split


def first_rows(split: Split, count: int) -> list[Row]:
    return list(islice(iter(split), count))


def sampled_masks(split: Split, column: str, places: Places) -> Iterator[StoredMask]:
    """The first images of a column that can be opened; the others are reported when read."""
    for row in first_rows(split, SNIFFED):
        with suppress(UserError):
            yield mask_source(row[column], column, places)


def image_source(value: object, where: str, places: Places) -> tuple[str | bytes, str]:
    """An encoded image -> its bytes or local path, and its name for messages.

    Raises:
        UserError: no image, or one that is a file outside `places`.
    """
    if isinstance(value, str):  # in a stream of files
        value = {"path": value}
    if isinstance(value, dict) and value.get("bytes") is not None:
        return value["bytes"], where
    if isinstance(value, dict) and value.get("path"):
        path = str(value["path"])
        if places is not None and not _is_in(path, places):
            raise UserError(
                f"{where}: it names the file {path!r}, which is not in the dataset, so it is not "
                "read; store the image itself in the row"
            )
        if "://" not in path:
            return path, path

        import fsspec

        with fsspec.open(path, "rb") as file:
            return file.read(), path
    raise UserError(f"{where}: it has no image; add one or remove the row")


def _is_in(path: str, places: tuple[str, ...]) -> bool:
    """Judged by the name alone; for a file in an archive, by that of the archive."""
    holder = path.split("::")[-1]
    if "://" in holder:
        return ".." not in PurePath(holder).parts and holder.startswith(places)
    return any(Path(os.path.abspath(holder)).is_relative_to(place) for place in places)


def mask_source(value: object, where: str, places: Places) -> StoredMask:
    """An encoded image or nested lists -> an argument of `MaskDecoder`."""
    if value is None:
        raise UserError(f"{where}: it has no mask; add one or remove the row")
    if isinstance(value, dict | str):
        source, name = image_source(value, where, places)
        return open_image(source, f"the mask of {name}")
    try:
        return np.asarray(value, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: its mask is not a rectangle of integers") from error
