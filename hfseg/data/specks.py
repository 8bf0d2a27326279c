"""Specks: single pixels of a class, which drawn masks hardly have."""

import numpy as np

_MANY = 50
_MANY_IN = 1 / 200
"""Fraction of the pixels. CamSeq01's masks, drawn by hand, have at most 0.0003, and at a quarter of
their size by nearest neighbor 0.002; resized with interpolation or saved as JPEG 0.013 to 0.06."""
ORIGIN_OF_SPECKS = (
    "a resize with interpolation, JPEG or a threshold leaves them: export the masks anew as PNG, "
    "resized by nearest neighbor"
)


def has_many_specks(specks: int, pixels: int) -> bool:
    """Whether a mask with so many has more than a drawn one."""
    return specks >= max(_MANY, _MANY_IN * pixels)


def count_specks(ids: np.ndarray, ignore_index: int) -> int:
    """Pixels whose class no neighbor above, below, left or right shares; ignored ones don't count.

    A drawn mask has hardly any; many come from a mask that was resampled or thresholded.
    """
    alone = np.ones(ids.shape, dtype=bool)
    for axis in (0, 1):
        same = np.diff(ids.astype(np.int16), axis=axis) == 0
        after, before = [slice(None)] * 2, [slice(None)] * 2
        after[axis], before[axis] = slice(1, None), slice(None, -1)
        alone[tuple(after)] &= ~same
        alone[tuple(before)] &= ~same
    return int((alone & (ids != ignore_index)).sum())
