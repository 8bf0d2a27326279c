"""The tiling law: for a function of single pixels, tiles make no difference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hfseg.inference.sliding_window import sliding_window, tile_positions


def whole(scores: torch.Tensor, window, stride) -> torch.Tensor:
    """The scores put together again from tiles of them; every pixel is given out once."""
    result = torch.full_like(scores, float("nan"))
    size = tuple(scores.shape[1:])

    def scores_of(box):
        top, left, bottom, right = box
        assert bottom - top <= window[0] and right - left <= window[1]
        return scores[:, top:bottom, left:right].clone()

    for rows, columns, block in sliding_window(scores_of, size, window, stride):
        assert result[:, rows, columns].isnan().all()
        result[:, rows, columns] = block
    return result


sides = st.integers(1, 40)


@settings(max_examples=150, deadline=None)
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.data())
def test_tiles_of_a_per_pixel_function_blend_into_the_whole(size, window, data):
    stride = tuple(data.draw(st.integers(1, side)) for side in window)
    values = torch.randint(-50, 50, (3, *size), generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole(values.float(), window, stride), values.float())


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.data())
def test_tiles_leave_no_gap_and_stay_inside(length, window, data):
    window = min(window, length)
    stride = data.draw(st.integers(1, window))
    starts = tile_positions(length, window, stride)
    assert starts[0] == 0 and starts[-1] + window == length
    assert all(0 < step <= stride for step in np.diff(starts))


def test_the_middle_of_a_tile_counts_more_than_its_border():
    answers = iter([torch.zeros(1, 4, 8), torch.ones(1, 4, 8)])
    blocks = sliding_window(lambda box: next(answers), (4, 12), (4, 8), (4, 4))
    row = torch.cat([block[0, 0] for _, _, block in blocks])
    assert row[:4].tolist() == [0] * 4 and row[8:].tolist() == [1] * 4
    assert row[4:8].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8])
