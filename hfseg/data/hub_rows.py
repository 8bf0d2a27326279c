"""Rows of a Hub dataset as they are stored: encoded images, or nested lists."""

from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hfseg.data.masks import StoredMask, open_image
from hfseg.data.rows import Row
from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets

Split: TypeAlias = "datasets.Dataset | datasets.IterableDataset"
"""A split as it is stored, with at least an image and a mask column."""


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

    split = split.select_columns(list(dict.fromkeys(columns)))
    for column in columns:
        if is_image(column_features(split).get(column)):
            split = split.cast_column(column, datasets.Image(decode=False))
    return split


def first_rows(split: Split, count: int) -> list[Row]:
    return list(islice(iter(split), count))


def image_source(value: object, where: str) -> tuple[str | bytes, str]:
    """An encoded image -> its bytes or local path, and its name for messages."""
    if isinstance(value, dict) and value.get("bytes") is not None:
        return value["bytes"], where
    if isinstance(value, dict) and value.get("path"):
        path = str(value["path"])
        if "://" not in path:
            return path, path

        import fsspec

        with fsspec.open(path, "rb") as file:
            return file.read(), path
    raise UserError(f"{where}: it has no image; add one or remove the row")


def mask_source(value: object, where: str) -> StoredMask:
    """An encoded image or nested lists -> an argument of `MaskDecoder`."""
    if value is None:
        raise UserError(f"{where}: it has no mask; add one or remove the row")
    if isinstance(value, dict):
        source, name = image_source(value, where)
        return open_image(source, f"the mask of {name}")
    try:
        return np.asarray(value, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: its mask is not a rectangle of integers") from error
