"""Datasets that are already in memory: a `DatasetDict`, or any torch `Dataset` of pairs."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hfseg.data.masks import encode_png
from hfseg.data.pairs import features
from hfseg.data.splits import WHOLE, SplitPlan
from hfseg.errors import UserError
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

_CHECKED = 64
"""Samples per split whose ids are looked at; the metric checks the others."""
_KEYS = (("image", "label"), ("image", "mask"), ("pixel_values", "labels"))


def read(
    data: Any, labels: LabelSet | None, plan: SplitPlan
) -> "tuple[datasets.DatasetDict, LabelSet]":
    """Check a dataset object, and divide it where it has no splits of its own.

    Args:
        data: a `datasets.DatasetDict` or `datasets.Dataset` with the columns `image` and `label`
            (class ids), or what `from_torch` reads.
        labels: names and colors of the classes.
        plan: how data without splits is divided.

    Raises:
        UserError: no labels, no such columns, or an id without a name.
    """
    import datasets

    if labels is None:
        raise UserError("give labels=hfseg.LabelSet(names) with a dataset object")
    if isinstance(data, datasets.Dataset):
        data = datasets.DatasetDict({WHOLE: data})
    elif not isinstance(data, datasets.DatasetDict):
        data = from_torch(data)
    for split, rows in data.items():
        if not {"image", "label"} <= set(rows.column_names):
            raise UserError(
                f"the {split} split has the columns {', '.join(rows.column_names)}; "
                "rename those of images and masks to `image` and `label`"
            )
        _check_ids(split, rows, labels)
    names = {split: [str(row) for row in range(len(rows))] for split, rows in data.items()}
    parts = {
        split: data[origin].select(chosen)
        for split, (origin, chosen) in plan.complete(names).items()
    }
    return datasets.DatasetDict(parts), labels


def _check_ids(split: str, rows: Any, labels: LabelSet) -> None:
    known = {*range(len(labels)), labels.ignore_index}
    for index in range(min(len(rows), _CHECKED)):
        strange = set(np.unique(_mask(rows[index]["label"], f"{split} sample {index}"))) - known
        if strange:
            raise UserError(
                f"{split} sample {index}: id {min(strange)} has no name; the labels have ids 0 to "
                f"{len(labels) - 1}, and {labels.ignore_index} is ignored"
            )


def from_torch(data: Any) -> "datasets.DatasetDict":
    """Read a torch dataset, or a mapping of splits to torch datasets, once.

    The samples are kept in memory as PNG files. A dataset should not augment them: that is the
    task of `augmentation`, anew in every epoch.

    Args:
        data: items are (image, mask), or dictionaries with `image` and `label` (or `mask`). An
            image is a PIL image or uint8 (H, W, 3); a mask a PIL image or integers (H, W).

    Returns:
        A `DatasetDict` with `image` (RGB) and `label` (mode L); one dataset is `splits.WHOLE`.

    Raises:
        UserError: an item that is not an image and a mask of its size.
    """
    import datasets

    splits = data if isinstance(data, Mapping) else {WHOLE: data}
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_list(
                list(_rows(split, items)), features=features(), split=datasets.NamedSplit(split)
            )
            for split, items in splits.items()
        }
    )


def _rows(split: str, items: Any) -> Iterator[dict[str, Any]]:
    for index in range(len(items)):
        name = f"{split} sample {index}"
        image, mask = _pair(items[index], name)
        yield {
            "image": {"bytes": encode_png(_image(image, name))},
            "label": {"bytes": encode_png(_mask(mask, name))},
        }


def _pair(item: Any, name: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        for image, mask in _KEYS:
            if image in item and mask in item:
                return item[image], item[mask]
    elif isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise UserError(
        f"{name}: expected an image and a mask, as (image, mask) or as a dictionary with `image` "
        f"and `label`, not {type(item).__name__}"
    )


def _image(value: Any, name: str) -> np.ndarray:
    pixels = np.asarray(value.convert("RGB") if isinstance(value, Image.Image) else value)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UserError(
            f"{name}: the image is {pixels.dtype} {pixels.shape}; give a PIL image or uint8 "
            "(height, width, 3)"
        )
    return pixels


def _mask(value: Any, name: str) -> np.ndarray:
    ids = np.asarray(value)
    if ids.ndim != 2 or ids.dtype.kind not in "iub":
        raise UserError(
            f"{name}: the mask is {ids.dtype} {ids.shape}; give integers (height, width)"
        )
    if ids.size and not 0 <= ids.min() <= ids.max() <= 255:
        raise UserError(f"{name}: the mask has ids from {ids.min()} to {ids.max()}, not 0 to 255")
    return ids.astype(np.uint8)
