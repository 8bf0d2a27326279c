"""Masks that visitors upload for their photo."""

import numpy as np
from PIL import Image

from hfseg.data.masks import MaskDecoder
from hfseg.errors import UserError
from hfseg.labels import LabelSet

from .limits import open_mask, own_size

_TOO_MANY_COLORS = 300
"""A mask has one color per class; a photo has thousands."""


def read_mask(path: str, photo: str, labels: LabelSet) -> np.ndarray:
    """(H, W) uint8 ids of the mask of a photo, stored as ids, palette or the model's colors.

    Raises:
        UserError: it is a photo, has unknown classes, or isn't as large as the photo.
    """
    mask = open_mask(path)
    if _looks_like_a_photo(mask, labels):
        raise UserError(
            "This looks like a photo, not a mask: a mask has one value or color per class. "
            "Choose the PNG mask of the photo."
        )
    ids = MaskDecoder.for_labels(labels).sniff([mask])(mask, "the mask")
    own = own_size(photo)
    if ids.shape != own[::-1]:
        raise UserError(
            f"The photo has {own[0]} × {own[1]} pixels, but its mask {ids.shape[1]} × "
            f"{ids.shape[0]}: they must have the same size."
        )
    return ids


def _looks_like_a_photo(mask: Image.Image, labels: LabelSet) -> bool:
    """Whether there are far more values or colors than a mask could have."""
    small = mask.resize((min(512, mask.width), min(512, mask.height)), Image.Resampling.NEAREST)
    if mask.mode in ("RGB", "RGBA"):
        return small.convert("RGB").getcolors(_TOO_MANY_COLORS) is None
    if mask.mode != "L":
        return False
    values = np.unique(np.asarray(small))
    return int((values >= len(labels)).sum()) > max(8, len(labels))


def resized_ids(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The ids at a photo's (width, height)."""
    return np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))
