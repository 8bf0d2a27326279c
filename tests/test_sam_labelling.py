"""Masks of a SAM and a mask with classes: prompts from it, votes, refinement, the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_sams import photo, tiny_sam2

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam import (
    SamMasks,
    SamPredictor,
    mask_recall,
    oracle,
    prompts_from_mask,
    refine_by_prompts,
    refine_by_votes,
)
from hfseg.sam.refinement import with_sam_boundaries
from hfseg.sam.regions import regions

LABELS = LabelSet(("ground", "wall", "roof", "tree"))

# regions and prompts from them

SCENE = np.zeros((20, 30), dtype=np.uint8)
SCENE[2:8, 3:13] = 1
SCENE[12:18, 20:23] = 1
SCENE[10:19, 2:10] = 2
SCENE[12:16, 5:7] = 0  # a window
SCENE[0, 29] = 3  # a speck
SCENE[19, 25:] = 255


def test_regions_become_boxes_and_their_innermost_points():
    boxes = prompts_from_mask(SCENE, LABELS, "boxes", min_area=0.015)
    assert [(p.class_id, p.box) for p in boxes] == [
        (0, (0, 0, 29, 19)), (2, (2, 10, 9, 18)), (1, (3, 2, 12, 7)), (1, (20, 12, 22, 17)),
    ]  # fmt: skip
    both = prompts_from_mask(SCENE, LABELS, "both", min_area=0.015)
    assert [p.box for p in both] == [p.box for p in boxes]
    points = [p.points[0] for p in prompts_from_mask(SCENE, LABELS, "points", min_area=0.015)]
    assert points == [p.points[0] for p in both]
    x, y = points[2]
    assert 5 <= x <= 10 and y in (4, 5)
    assert points[3][0] == 21
    assert len(prompts_from_mask(SCENE, LABELS, min_area=0)) == 6  # the window, the speck
    with pytest.raises(UserError, match="choose from boxes, points, both"):
        prompts_from_mask(SCENE, LABELS, "lines")


label_maps = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 2, 3, 255]),
)


@given(label_maps)
def test_a_point_lies_on_its_class_and_regions_partition_the_image(mask):
    covered = np.zeros(mask.shape, dtype=int)
    for region, prompt in zip(
        regions(mask, 4, 0), prompts_from_mask(mask, LABELS, "both", min_area=0), strict=True
    ):
        (x, y), (left, top, right, bottom) = prompt.points[0], prompt.box
        whole = region.mask(mask.shape)
        assert whole[int(y), int(x)] and (mask[whole] == prompt.class_id).all()
        rows, columns = np.nonzero(whole)
        assert (columns.min(), rows.min(), columns.max(), rows.max()) == (left, top, right, bottom)
        covered += whole
    np.testing.assert_array_equal(covered, mask < 4)


def test_mask_recall_counts_the_regions_that_a_mask_finds():
    truth = np.zeros((10, 20), dtype=np.uint8)
    truth[:, 10:] = 1
    truth[0:2, 0:5] = 2
    truth[:, 19] = 255
    left = np.zeros((10, 20), dtype=bool)
    left[:, :10] = True  # 90 of the 100 are ground
    right = np.zeros((10, 20), dtype=bool)
    right[:5, 10:19] = True  # exactly half of the wall is not above one half
    assert mask_recall(np.stack([left, right]), truth, LABELS) == (1, 3)
    right[5, 10] = True
    right[:, 19] = True  # ignored
    assert mask_recall(np.stack([left, right]), truth, LABELS) == (2, 3)
    assert mask_recall(np.zeros((0, 10, 20), dtype=bool), truth, LABELS) == (0, 3)


# refinement


def rectangles(*boxes: tuple[int, int, int, int], shape=(20, 30)) -> SamMasks:
    masks = np.zeros((len(boxes), *shape), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return SamMasks(masks, np.ones(len(boxes), dtype=np.float32))


def test_a_mask_gets_the_majority_class_of_the_prediction():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:12, 4:14] = 1
    voted = refine_by_votes(rectangles((5, 3, 16, 12), (0, 13, 30, 20)), mask)
    expected = mask.copy()
    expected[3:12, 5:16] = 1
    np.testing.assert_array_equal(voted, expected)


def test_of_overlapping_masks_the_smaller_is_on_top():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:, 15:] = 1
    mask[5:10, 20:25] = 2
    for order in ((0, 1), (1, 0)):
        boxes = [(15, 0, 30, 20), (19, 5, 25, 10)]
        voted = refine_by_votes(rectangles(*(boxes[index] for index in order)), mask)
        assert (voted[5:10, 19:25] == 2).all() and (voted == 2).sum() == 30


def test_an_answer_moves_the_boundary_in_both_directions():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:14, 4:14] = 1
    asked = regions(mask, 4)
    assert [region.class_id for region in asked] == [0, 1]
    answers = rectangles((0, 0, 1, 1), (6, 4, 16, 14))  # the ground isn't found, the wall is
    expected = np.zeros_like(mask)
    expected[4:14, 6:16] = 1
    np.testing.assert_array_equal(with_sam_boundaries(asked, answers, mask), expected)


def test_an_answer_about_something_else_changes_nothing():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:14, 4:14] = 1
    answers = rectangles((0, 0, 1, 1), (9, 4, 19, 14))  # a third in common
    np.testing.assert_array_equal(with_sam_boundaries(regions(mask, 4), answers, mask), mask)


def test_pixels_without_an_answer_keep_the_class_of_the_model():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:, 15:] = 1
    answers = rectangles((0, 0, 13, 20), (17, 0, 30, 20))  # a gap of four columns between them
    np.testing.assert_array_equal(with_sam_boundaries(regions(mask, 4), answers, mask), mask)


masks_of = st.integers(0, 5).flatmap(
    lambda count: arrays(bool, (count, 7, 8), elements=st.booleans())
)
predictions = arrays(np.uint8, (7, 8), elements=st.integers(0, 3))


@given(masks_of, predictions)
def test_votes_never_change_the_set_of_classes(masks, mask):
    before = mask.copy()
    voted = refine_by_votes(SamMasks(masks, np.ones(len(masks), dtype=np.float32)), mask)
    assert set(np.unique(voted)) == set(np.unique(mask))
    assert voted.dtype == np.uint8
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(voted[~masks.any(axis=0)], mask[~masks.any(axis=0)])


class Answers:
    """SAM as a list of what it will say; missing answers are the region's rows, moved by one."""

    def __init__(self, masks: np.ndarray) -> None:
        self.masks = masks

    def prompt_each(self, image, prompts) -> SamMasks:
        corners = np.array([prompt.box for prompt in prompts], dtype=int)
        corners[:, 2:] += (2, 1)
        boxes = rectangles(*corners, shape=(7, 8))
        for index, mask in enumerate(self.masks[: len(boxes)]):
            boxes.masks[index] ^= mask & (np.arange(8) % 4 == 0)
        return boxes


@settings(max_examples=200)
@given(masks_of, predictions, st.sampled_from(["boxes", "both"]))
def test_prompting_never_changes_the_set_of_classes(masks, mask, kind):
    before = mask.copy()
    refined = refine_by_prompts(Answers(masks), photo((8, 7)), mask, LABELS, kind, min_area=0)
    assert set(np.unique(refined)) == set(np.unique(mask))
    assert refined.dtype == np.uint8
    np.testing.assert_array_equal(mask, before)


def test_a_class_that_would_vanish_keeps_its_pixels():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[5:7, 5:7] = 3
    voted = refine_by_votes(rectangles((0, 0, 15, 20)), mask)
    np.testing.assert_array_equal(voted, mask)


def test_a_restored_class_does_not_remove_another():
    mask = np.array([[0, 0, 1, 0, 0, 1, 0, 0, 1, 2, 2]], dtype=np.uint8)
    masks = np.zeros((4, 1, 11), dtype=bool)
    masks[0, 0, [2, 5, 8, 9, 10]] = True  # names the last two 1
    for number, start in enumerate((0, 3, 6), start=1):
        masks[number, 0, start : start + 3] = True  # and these, on top, leave no other 1
    voted = refine_by_votes(SamMasks(masks, np.ones(4, dtype=np.float32)), mask)
    np.testing.assert_array_equal(voted, mask)


def test_the_oracle_classifies_masks_by_the_ground_truth_and_the_rest_as_one():
    truth = np.zeros((20, 30), dtype=np.uint8)
    truth[:, 15:] = 1
    truth[5:15, 2:10] = 2
    truth[:5] = 255
    found = oracle(rectangles((2, 5, 11, 15), (0, 0, 30, 5)), truth)
    expected = np.ones_like(truth)  # of the rest, 300 of 300 + 220 - ... pixels are wall
    expected[5:15, 2:11] = 2
    np.testing.assert_array_equal(found, expected)


def test_without_labels_the_oracle_ignores_everything():
    truth = np.full((20, 30), 255, dtype=np.uint8)
    assert (oracle(rectangles((2, 5, 11, 15)), truth) == 255).all()


def test_real_masks_of_a_sam_keep_the_set_of_classes():
    mask = np.zeros((80, 120), dtype=np.uint8)
    mask[10:50, 20:60] = 1
    mask[40:70, 70:110] = 2
    predictor = SamPredictor(*tiny_sam2())
    for kind in ("boxes", "points", "both"):
        refined = refine_by_prompts(predictor, photo((120, 80)), mask, LABELS, kind)
        assert refined.shape == mask.shape and set(np.unique(refined)) == {0, 1, 2}
