"""Boundary IoU and boundary F-score against the definitions, written out per class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hfseg.metrics.boundary import boundary_f_counts, boundary_iou_counts
from hfseg.metrics.table import boundary_f, iou

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


def other_class_near(ids: np.ndarray, y: int, x: int, distance: int, none: int | None) -> bool:
    around = ids[max(y - distance, 0) : y + distance + 1, max(x - distance, 0) : x + distance + 1]
    return bool(((around != ids[y, x]) & (around != none)).any())


def contour(ids: np.ndarray, index: int) -> np.ndarray:
    found = np.zeros(ids.shape, bool)
    for y, x in np.argwhere(ids == index):
        found[y, x] = other_class_near(ids, y, x, 1, none=255)
    return found


def true_contour(label: np.ndarray, index: int, tolerance: int) -> np.ndarray:
    found = np.zeros(label.shape, bool)
    for y, x in np.argwhere(label == index):
        at_edge = other_class_near(label, y, x, 1, none=None)
        found[y, x] = at_edge and other_class_near(label, y, x, 2 * tolerance, none=255)
    return found


def near(places: np.ndarray, radius: int) -> np.ndarray:
    found = np.zeros(places.shape, bool)
    for y, x in np.ndindex(found.shape):
        found[y, x] = matched(np.array([[y, x]]), np.argwhere(places), radius)
    return found


def matched(ours: np.ndarray, theirs: np.ndarray, radius: int) -> int:
    """How many of our (row, column) places have one of theirs in a disc around them."""
    return sum(bool((((theirs - place) ** 2).sum(1) <= radius**2).any()) for place in ours)


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
        score = iou(counts)[index]
        assert np.isnan(score) if union == 0 else score == pytest.approx(expected[0] / union)


@settings(max_examples=30, deadline=None)
@given(two_maps(), st.integers(1, 3))
def test_boundary_f_equals_a_brute_force_over_contour_pixels(maps, tolerance):
    prediction, label = maps
    counts = boundary_f_counts(
        torch.from_numpy(prediction), torch.from_numpy(label), NUM_LABELS, tolerance=tolerance
    ).numpy()
    truths = [true_contour(label, index, tolerance) for index in range(NUM_LABELS)]
    zone = near(np.any(truths, axis=0), tolerance)
    valid = np.where(label == 255, 255, prediction)
    for index, truth in enumerate(truths):
        ours = contour(valid, index) | (contour(prediction, index) & zone)
        truth, ours = np.argwhere(truth), np.argwhere(ours)
        assert counts[:, index].tolist() == [
            matched(ours, truth, tolerance), len(ours), matched(truth, ours, tolerance), len(truth),
        ]  # fmt: skip


def square(size: int, side: int, band: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of a square of class 1, and labels of it with an ignored band along its outline."""
    ids = torch.zeros(size, size, dtype=torch.uint8)
    start, end = (size - side) // 2, (size + side) // 2
    ids[start:end, start:end] = 1
    label = ids.clone()
    label[start - band : end + band, start - band : end + band] = 255
    label[start + band : end - band, start + band : end - band] = 1
    return ids, label


def test_an_outline_under_an_ignored_band_is_a_contour_like_any():
    ids, label = square(300, 160, band=2)  # 4 pixels wide; the tolerance is 3

    def score(prediction: torch.Tensor) -> np.ndarray:
        return boundary_f(boundary_f_counts(prediction, label, 3).numpy())

    np.testing.assert_array_equal(score(ids)[:2], [1, 1])
    close, far = score(ids.roll(1, 0)), score(ids.roll(20, 0))
    assert (close[:2] > 0.99).all() and (far[:2] < 0.7).all()
    another = score(ids * 2)  # the right outline of the wrong class
    assert another[0] == 1 and another[1] == 0 and another[2] == 0


def test_the_edge_of_a_wide_ignored_region_is_no_contour():
    label = torch.zeros(300, 300, dtype=torch.uint8)
    label[200:] = 255
    prediction = torch.where(label == 255, 1, label)
    assert boundary_f_counts(prediction, label, 2).sum() == 0
    prediction[100:150] = 1  # a false outline outside of it, two rows of 300 for each class
    assert boundary_f_counts(prediction, label, 2)[1].tolist() == [600, 600]


def test_a_perfect_prediction_scores_one_and_a_shifted_one_less():
    label = torch.zeros(100, 100, dtype=torch.uint8)
    label[30:70, 30:70] = 1
    for counts, score in (
        (boundary_iou_counts, iou),
        (boundary_f_counts, boundary_f),
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
    assert np.isnan(iou(boundary_iou_counts(label, label, 2).numpy())[1])
    assert np.isnan(boundary_f(boundary_f_counts(label, label, 2).numpy())[1])
