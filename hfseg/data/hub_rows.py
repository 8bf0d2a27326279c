"""Rows of a Hub dataset as they are stored: encoded images, or nested lists."""

import io
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from hfseg.errors import UserError


def is_image(feature: Any) -> bool:
    """Whether a feature of a dataset is `datasets.Image`."""
    import datasets

    return isinstance(feature, datasets.Image)


def column_features(split: Any) -> dict[str, Any]:
    """Feature by column; None for each where a stream does not know its features."""
    if split.features is not None:
        return dict(split.features)
    return dict.fromkeys(next(iter(split), {}))


def encoded(split: Any, *columns: str) -> Any:
    """Only these columns, with pictures left as the bytes or files they are."""
    import datasets

    split = split.select_columns(list(dict.fromkeys(columns)))
    for column in columns:
        if is_image(column_features(split).get(column)):
            split = split.cast_column(column, datasets.Image(decode=False))
    return split


def first_rows(split: Any, count: int) -> list[dict[str, Any]]:
    return list(islice(iter(split), count))


def image_source(value: Any, where: str) -> tuple[Any, str]:
    """An encoded picture -> its bytes or local path, and its name for messages."""
    if isinstance(value, dict) and value.get("bytes") is not None:
        return value["bytes"], where
    if isinstance(value, dict) and value.get("path"):
        path = str(value["path"])
        if "://" not in path:
            return path, path

        import fsspec

        with fsspec.open(path, "rb") as file:
            return file.read(), path
    raise UserError(f"{where}: it has no image")


def mask_source(value: Any, where: str) -> Any:
    """An encoded picture or nested lists -> what `MaskDecoder` takes."""
    if value is None:
        raise UserError(f"{where}: it has no mask")
    if isinstance(value, dict):
        source, name = image_source(value, where)
        try:
            picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
            picture.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{name}: the mask can't be read as an image ({error})") from error
        return picture
    try:
        return np.asarray(value, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: its mask is not a rectangle of integers") from error
