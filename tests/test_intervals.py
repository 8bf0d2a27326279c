"""Confidence intervals of the mean IoU, and which images they take as independent."""

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hfseg.data import load_dataset
from hfseg.data.units import IMAGES, Units, units_of
from hfseg.metrics.interval_coverage import SCENARIOS, coverage
from hfseg.metrics.intervals import mean_iou_difference, mean_iou_interval

NAMES = ("road", "bus")


def per_image(hits, unions) -> dict[int, np.ndarray]:
    """Counts of images (rows) and classes (columns) with these intersections and unions."""
    hits, unions = np.asarray(hits), np.asarray(unions)
    return dict(enumerate(np.stack([hits, hits, unions], 1)))


def random_counts(images: int, seed: int = 0, classes: int = 2) -> dict[int, np.ndarray]:
    generator = np.random.default_rng(seed)
    unions = generator.integers(50, 150, (images, classes))
    return per_image((unions * generator.uniform(0.5, 0.9, unions.shape)).astype(int), unions)


# ---- the interval ----


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 100), min_size=2, max_size=30))
def test_one_class_of_equal_size_has_students_interval_of_a_mean(hits):
    found = mean_iou_interval(per_image(np.array(hits)[:, None], [[100]] * len(hits)), ("road",))
    iou = np.array(hits) / 100
    if np.ptp(iou) == 0:
        assert found.bounds == pytest.approx((iou[0], iou[0]))
        return
    low, high = stats.t.interval(0.95, len(iou) - 1, iou.mean(), stats.sem(iou))
    assert found.bounds == pytest.approx((max(low, 0), min(high, 1)))


def test_an_interval_reaches_to_both_sides_where_a_rare_class_is_never_found():
    # a bootstrap draw without the bus would average over the road alone: 0.409 becomes 0.818
    hits = np.array([[81, 0]] * 10 + [[83, 0]] * 10)
    unions = np.array([[100, 50]] * 2 + [[100, 0]] * 18)
    found = mean_iou_interval(per_image(hits, unions), NAMES)
    low, high = found.bounds
    assert low < found.value < high < 0.5


@pytest.mark.parametrize("title", ["no rare class", "1 rare class", "4 rare classes"])
@pytest.mark.parametrize("images", [20, 50, 100])
def test_the_simulated_coverage_is_near_95_percent(title, images):
    scenario = next(one for one in SCENARIOS if one.title == title)
    found = coverage(scenario, images, samples=150, seed=1)
    assert found.chosen >= 0.89 and found.difference >= 0.89


def test_a_class_in_one_image_only_gives_a_warning_and_no_interval():
    counts = per_image([[80, 30]] + [[70, 0]] * 9, [[100, 50]] + [[100, 0]] * 9)
    found = mean_iou_interval(counts, NAMES)
    assert found.bounds is None and found.value == pytest.approx((0.71 + 0.6) / 2)
    assert found.note == "none, because 'bus' is in only one image"


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ({}, "none, because there are no images"),
        (per_image([[0, 0]], [[0, 0]]), "none, because no pixel is labeled"),
        (random_counts(1), "none, because there is only 1 image"),
    ],
)
def test_too_little_gives_no_interval(counts, note):
    found = mean_iou_interval(counts, NAMES)
    assert found.bounds is None and found.note == note


def test_the_order_of_the_images_makes_no_difference():
    counts = random_counts(10)
    turned = {index: counts[index] for index in reversed(counts)}
    assert mean_iou_interval(turned, NAMES) == mean_iou_interval(counts, NAMES)


# ---- units ----


def test_frames_that_repeat_in_blocks_are_worth_one_block_each():
    counts = random_counts(10)
    repeated = {10 * index + copy: counts[index] for index in counts for copy in range(10)}
    blocks = Units("block", "blocks", [index // 10 for index in range(100)])
    alone, honest = mean_iou_interval(counts, NAMES), mean_iou_interval(repeated, NAMES, blocks)
    assert honest.bounds == pytest.approx(alone.bounds)
    assert honest.note == "10 blocks taken as independent"
    naive = mean_iou_interval(repeated, NAMES)
    assert np.diff(naive.bounds)[0] < 0.35 * np.diff(honest.bounds)[0]


def rows(*names: str | None) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    images = [{"path": name, "bytes": b""} for name in names]
    return datasets.Dataset.from_dict({"image": images, "label": images}, features)


def test_frames_of_a_known_video_are_taken_in_blocks_of_time():
    names = [f"data/0016E5_{number:05}.png" for number in range(7959, 7984)]
    found = units_of(rows(*reversed(names)), "camseq", None)
    assert found.counted(5) == "5 blocks of consecutive frames"
    assert found.of_image == [4 - index // 5 for index in range(25)]


def test_many_sequences_of_a_video_are_the_units_themselves():
    names = [f"{sequence:02}_{frame}.png" for sequence in range(12) for frame in range(3)]
    found = units_of(rows(*names), "folder", "time")
    assert found.one == "sequence" and found.of_image == [index // 3 for index in range(36)]


def test_blocks_do_not_reach_from_one_sequence_into_another():
    names = [f"a_{frame}.png" for frame in range(9)] + [f"b_{frame}.png" for frame in range(7)]
    of_image = units_of(rows(*names), "camvid", None).of_image
    assert not set(of_image[:9]) & set(of_image[9:])


def test_copies_that_roboflow_made_and_named_groups_are_units():
    copies = rows("cat.rf.1a.jpg", "dog.rf.2b.jpg", "cat.rf.3c.jpg")
    assert units_of(copies, "coco", None) == Units("group", "groups", [0, 1, 0])
    patients = rows("p1_1.png", "p1_2.png", "p2_1.png")
    assert units_of(patients, "folder", "group").of_image == [0, 0, 1]
    assert units_of(patients, "folder", None) == IMAGES


def test_without_file_names_every_image_is_a_unit():
    assert units_of(rows(None, None), "camvid", None) == IMAGES


def test_selected_rows_keep_their_own_units():
    data, _ = load_dataset("toyscapes", split="validation")
    assert units_of(data["validation"].select([3, 1]), "toyscapes", None) == IMAGES
    chosen = rows("a_1.png", "b_1.png", "c_1.png").select([2, 0])
    assert units_of(chosen, "folder", "group").of_image == [1, 0]


# ---- two models ----


def test_a_model_does_not_differ_from_itself():
    counts = random_counts(12)
    found = mean_iou_difference(counts, counts, NAMES)
    assert found.value == 0 and found.bounds == (0, 0) and found.p_value == 1


def test_a_paired_difference_is_surer_than_two_intervals():
    generator = np.random.default_rng(0)
    difficulty = generator.uniform(0.3, 0.9, (30, 1))
    unions = np.full((30, 2), 1000)
    first = per_image((unions * difficulty).astype(int), unions)
    noise = generator.normal(0.02, 0.01, (30, 2))
    second = per_image((unions * (difficulty + noise)).astype(int), unions)
    found = mean_iou_difference(first, second, NAMES)
    assert 0.015 < found.bounds[0] < found.value < found.bounds[1] < 0.026
    assert found.p_value < 1e-6
    low, high = mean_iou_interval(first, NAMES).bounds
    assert high - low > 10 * (found.bounds[1] - found.bounds[0])


def test_only_images_in_common_are_compared():
    first, second = random_counts(20), random_counts(20, seed=1)
    found = mean_iou_difference(first, {index: second[index] for index in range(15)}, NAMES)
    both = [{index: counts[index] for index in range(15)} for counts in (first, second)]
    assert found == mean_iou_difference(*both, NAMES)
    assert found.note == "15 images taken as independent"
