"""Any torch `Dataset` of images and masks -> a `datasets.DatasetDict`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from hfseg.data.masks import encode_png
from hfseg.data.rows import Row, features
from hfseg.data.splits import WHOLE
from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets

_KEYS = (("image", "label"), ("image", "mask"), ("pixel_values", "labels"))


class Indexed(Protocol):
    """A dataset in the style of torch: items by index."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> object: ...


def from_torch(data: Indexed | Mapping[str, Indexed]) -> "datasets.DatasetDict":
    """Read a torch dataset, or a mapping of splits to torch datasets, once.

    The samples are kept in memory as PNG files. The dataset should not augment them: that is the
    task of `augmentation`, in every epoch.

    Args:
        data: items are (image, mask), or dictionaries with `image` and `label` (or `mask`). An
            image is a PIL image or uint8, (H, W, 3) or (3, H, W); a mask a PIL image or integers,
            (H, W).

    Returns:
        A `DatasetDict` with `image` (RGB) and `label` (mode L); one dataset is `splits.WHOLE`.

    Raises:
        UserError: not a dataset with a length, or an item that is not an image and a mask of its
            size.
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


def _rows(split: str, items: Indexed) -> Iterator[Row]:
    if not (hasattr(items, "__len__") and hasattr(items, "__getitem__")):
        raise UserError(
            "a dataset must be a name, a folder, a `datasets.Dataset` or `DatasetDict`, or a list "
            f"or torch dataset of (image, mask) pairs, not {type(items).__name__}"
        )
    for index in range(len(items)):
        name = f"{split} sample {index}"
        image, mask = read_pair(items[index], name)
        yield {"image": {"bytes": encode_png(image)}, "label": {"bytes": encode_png(mask)}}


def read_pair(item: object, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 and (H, W) uint8 of one item, as `from_torch` takes them.

    Args:
        name: of the item, for the error.
    """
    image, mask = _pair(item, name)
    return _image(image, name), _mask(mask, name)


def _pair(item: object, name: str) -> tuple[object, object]:
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


def _image(value: object, name: str) -> np.ndarray:
    pixels = np.asarray(value.convert("RGB") if isinstance(value, Image.Image) else value)
    if pixels.ndim == 3 and pixels.shape[0] == 3 != pixels.shape[2]:  # as torchvision reads images
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UserError(
            f"{name}: the image is {pixels.dtype} {pixels.shape}; give a PIL image or uint8 "
            "(height, width, 3)"
        )
    return pixels


def _mask(value: object, name: str) -> np.ndarray:
    ids = np.asarray(value)
    if ids.ndim != 2 or ids.dtype.kind not in "iub":
        raise UserError(
            f"{name}: the mask is {ids.dtype} {ids.shape}; give integers (height, width)"
        )
    if ids.size and not 0 <= ids.min() <= ids.max() <= 255:
        raise UserError(f"{name}: the mask has ids from {ids.min()} to {ids.max()}, not 0 to 255")
    return ids.astype(np.uint8)
