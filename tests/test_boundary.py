"""Boundary IoU and boundary F-score against the definitions, written out per class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hfseg.metrics.boundary import (
    boundary_f_counts,
    boundary_f_score,
    boundary_iou,
    boundary_iou_counts,
)

NUM_LABELS = 3


@st.composite
def two_maps(draw):
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    prediction = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 2)))
    label = draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255])))
    return prediction, label


def region(mask: np.ndarray, width: int) -> np.ndarray:
    """`mask_to_boundary` of the paper's code: the mask without its erosion, zeros outside."""
    padded = np.pad(mask, width)
    inside = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        inside[y, x] = padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    return mask & ~inside


def contour(ids: np.ndarray, index: int) -> np.ndarray:
    found = np.zeros(ids.shape, bool)
    for y, x in np.argwhere(ids == index):
        around = ids[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        found[y, x] = bool(((around != index) & (around != 255)).any())
    return found


def matched(ours: np.ndarray, theirs: np.ndarray, radius: int) -> int:
    places = np.argwhere(theirs)
    return sum(
        bool(len(places)) and bool((((places - place) ** 2).sum(1) <= radius**2).any())
        for place in np.argwhere(ours)
    )


@settings(max_examples=30, deadline=None)
@given(two_maps(), st.integers(1, 3))
def test_boundary_iou_equals_a_brute_force_of_the_papers_code(maps, width):
    prediction, label = maps
    counts = boundary_iou_counts(
        torch.from_numpy(prediction), torch.from_numpy(label), NUM_LABELS, width=width
    ).numpy()
    for index in range(NUM_LABELS):
        truth = region(label == index, width)
        ours = region((prediction == index) & (label != 255), width)
        expected = [(truth & ours).sum(), truth.sum(), ours.sum()]
        assert counts[:, index].tolist() == expected
        union = (truth | ours).sum()
        score = boundary_iou(counts)[index]
        assert np.isnan(score) if union == 0 else score == pytest.approx(expected[0] / union)


@settings(max_examples=30, deadline=None)
@given(two_maps(), st.integers(1, 3))
def test_boundary_f_equals_a_brute_force_over_contour_pixels(maps, tolerance):
    prediction, label = maps
    counts = boundary_f_counts(
        torch.from_numpy(prediction), torch.from_numpy(label), NUM_LABELS, tolerance=tolerance
    ).numpy()
    valid = np.where(label == 255, 255, prediction)
    for index in range(NUM_LABELS):
        truth, ours = contour(label, index), contour(valid, index)
        assert counts[:, index].tolist() == [
            matched(ours, truth, tolerance), ours.sum(), matched(truth, ours, tolerance),
            truth.sum(),
        ]  # fmt: skip


def test_a_perfect_prediction_scores_one_and_a_shifted_one_less():
    label = torch.zeros(100, 100, dtype=torch.uint8)
    label[30:70, 30:70] = 1
    for counts, score in (
        (boundary_iou_counts, boundary_iou),
        (boundary_f_counts, boundary_f_score),
    ):
        perfect = score(counts(label, label, 2).numpy())
        shifted = score(counts(label.roll(4, 0), label, 2).numpy())
        np.testing.assert_array_equal(perfect, [1, 1])
        assert (shifted < 0.9).all() and (shifted > 0).all()


def test_the_width_is_two_percent_of_the_diagonal():
    label = torch.zeros(300, 400, dtype=torch.int64)  # a diagonal of 500, hence 10 pixels
    _, truth, _ = boundary_iou_counts(label, label, 1)
    assert truth.item() == 300 * 400 - 280 * 380


def test_a_class_that_occurs_nowhere_has_no_score():
    label = torch.zeros(8, 8, dtype=torch.int64)
    assert np.isnan(boundary_iou(boundary_iou_counts(label, label, 2).numpy())[1])
    assert np.isnan(boundary_f_score(boundary_f_counts(label, label, 2).numpy())[1])
