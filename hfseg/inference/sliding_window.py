"""Sliding window: an image of any size through a model, tile by tile, in bounded memory.

Tiles are blended with weights that decrease towards their borders. Rows of tiles are finished from
the top down, so only one tile and the overlap with the next row are in memory.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import ceil

import torch

from hfseg.errors import UserError

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels."""


def sliding_window(
    scores_of: Callable[[Box], torch.Tensor], size: Size, window: Size, stride: Size
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Blend the scores of overlapping tiles, and yield them block by block.

    Args:
        scores_of: (top, left, bottom, right) of a tile -> its (C, h, w) scores.
        size: (H, W) of the complete image.
        window: (h, w) of a tile; a smaller image is one tile.
        stride: maximum step between tiles, which are spread evenly.

    Yields:
        rows, columns, and the (C, rows, columns) weighted means of the scores there. The blocks
        cover every pixel once, in reading order of the tiles.
    """
    height, width = min(window[0], size[0]), min(window[1], size[1])
    tops = tile_positions(size[0], height, stride[0])
    lefts = tile_positions(size[1], width, stride[1])
    weights = _ramp(height)[:, None] * _ramp(width)
    row_weight, column_weight = _total(tops, size[0], height), _total(lefts, size[1], width)
    overlap = max(top + height - below for top, below in pairwise([*tops, size[0]]))
    carry = torch.empty(0)  # sums in the rows shared with the next row of tiles
    carried = 0
    for top, next_top in pairwise([*tops, size[0]]):
        kept = top + height - next_top
        seen = 0  # columns covered by this row of tiles
        beside = torch.empty(0)  # sums in the columns shared with the next tile
        for left, next_left in pairwise([*lefts, size[1]]):
            tile = scores_of((top, left, top + height, left + width))
            weights = weights.to(tile.device)
            tile = tile * weights
            if not carry.numel() and overlap:
                carry = tile.new_zeros(len(tile), overlap, size[1])
            if left:
                tile[..., : beside.shape[-1]] += beside
            if carried:
                tile[:, :carried, seen - left :] += carry[:, :carried, seen : left + width]
            seen = left + width
            done = next_left - left
            if kept:
                carry[:, :kept, left:next_left] = tile[:, height - kept :, :done]
            rows, columns = slice(top, next_top), slice(left, next_left)
            total = row_weight[rows, None] * column_weight[columns]
            yield rows, columns, tile[:, : next_top - top, :done] / total.to(tile.device)
            beside = tile[..., done:]
        carried = kept


def tile_positions(length: int, window: int, stride: int) -> list[int]:
    """The starts of the fewest tiles at most `stride` apart, evenly spread."""
    gaps = ceil((length - window) / stride)
    return [round(index * (length - window) / gaps) for index in range(gaps + 1)] if gaps else [0]


def parse_window(window: int | Size, stride: int | Size | None) -> tuple[Size, Size]:
    """(height, width) of window and stride. One number is a square; the default stride is 3/4.

    Raises:
        UserError: numbers below 1, or a stride that would leave gaps between tiles.
    """
    height, width = (window, window) if isinstance(window, int) else window
    if min(height, width) < 1:
        raise UserError(f"the sliding window is {height} x {width}: both sides must be at least 1")
    if stride is None:
        stride = max(1, height * 3 // 4), max(1, width * 3 // 4)
    down, across = (stride, stride) if isinstance(stride, int) else stride
    if min(down, across) < 1 or down > height or across > width:
        raise UserError(
            f"the stride is {down} x {across}, but must be between 1 and the size of the sliding "
            f"window, {height} x {width}: a larger one would leave gaps"
        )
    return (height, width), (down, across)


def _ramp(length: int) -> torch.Tensor:
    """1, 2, ... up to the middle, and down to 1 again: (length,) float32."""
    rising = torch.arange(1, length + 1, dtype=torch.float32)
    return torch.minimum(rising, rising.flip(0))


def _total(starts: list[int], length: int, window: int) -> torch.Tensor:
    """Sum of the weights of all tiles along one side."""
    total = torch.zeros(length)
    for start in starts:
        total[start : start + window] += _ramp(window)
    return total
