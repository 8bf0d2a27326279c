"""The `evaluate` module: as the Hub's `mean_iou` where that is right, and in constant memory."""

import os
import subprocess
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import hfseg
from hfseg.metrics import scores

K = 6
KEYS = [
    "mean_iou",
    "mean_accuracy",
    "overall_accuracy",
    "per_category_iou",
    "per_category_accuracy",
]


@pytest.fixture(scope="module")
def load():
    return lambda **options: evaluate.load(hfseg.MEAN_IOU, **options)


@pytest.fixture(scope="module")
def shared(load):
    """For tests that end with a successful `compute`, which leaves the metric as new."""
    return load()


@pytest.fixture
def metric(load):
    return load()


def hub_mean_iou(predictions, references, num_labels, ignore_index, label_map=None, reduce=False):
    """What the Hub's metric is defined to be: histograms over `num_labels` bins, summed."""
    intersect, predicted, labeled = np.zeros((3, num_labels))
    for prediction, reference in zip(predictions, references, strict=True):
        label = reference.copy()
        for old, new in (label_map or {}).items():
            label[reference == old] = new
        if reduce:
            label[label == 0] = 255
            label = label - 1
            label[label == 254] = 255
        prediction, label = prediction[label != ignore_index], label[label != ignore_index]
        areas = [
            np.histogram(ids, bins=num_labels, range=(0, num_labels - 1))[0]
            for ids in (prediction[prediction == label], prediction, label)
        ]
        intersect, predicted, labeled = (
            intersect + areas[0],
            predicted + areas[1],
            labeled + areas[2],
        )
    with np.errstate(all="ignore"):
        iou, accuracy = intersect / (predicted + labeled - intersect), intersect / labeled
        overall = intersect.sum() / labeled.sum()
    return dict(
        zip(KEYS, [np.nanmean(iou), np.nanmean(accuracy), overall, iou, accuracy], strict=True)
    )


def assert_identical(result, expected):
    """Equal to the last digit, NaN equal to NaN."""
    for key in expected:
        np.testing.assert_array_equal(result[key], expected[key], err_msg=key)


def random_images(count=5, seed=0, num_labels=K, low=0):
    """Images of different sizes, one pixel in eight ignored."""
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(count):
        shape = tuple(rng.integers(8, 24, 2))
        label = rng.integers(low, num_labels, shape)
        predictions.append(np.where(rng.random(shape) < 0.6, label % num_labels, 1))
        references.append(np.where(rng.random(shape) < 0.125, 255, label))
    return predictions, references


def images_of(labels):
    shapes = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4)
    return shapes.flatmap(
        lambda shapes: st.tuples(
            st.tuples(*(hnp.arrays(np.int64, s, elements=st.integers(0, K - 1)) for s in shapes)),
            st.tuples(*(hnp.arrays(np.int64, s, elements=st.sampled_from(labels)) for s in shapes)),
        )
    )


@settings(deadline=None, max_examples=60)
@given(images=images_of([*range(K), 255, -100]))
def test_counts_agree_with_a_loop_over_pixels(shared, images):
    predictions, references = images
    expected = np.zeros((K, K), dtype=np.int64)
    for prediction, reference in zip(predictions, references, strict=True):
        for predicted, truth in zip(prediction.flat, reference.flat, strict=True):
            if truth not in (255, -100):
                expected[truth, predicted] += 1
    result = shared.compute(predictions=predictions, references=references, num_labels=K)
    assert result["confusion_matrix"].dtype == np.int64
    np.testing.assert_array_equal(result["confusion_matrix"], expected)
    assert_identical(result, {key: scores(expected)[key] for key in KEYS})


@settings(deadline=None, max_examples=60)
@given(images=images_of([*range(K), 255]))
def test_scores_equal_the_hubs_to_the_last_digit(shared, images):
    predictions, references = images
    if all((reference == 255).all() for reference in references):
        references[0][0, 0] = 0
    result = shared.compute(
        predictions=predictions, references=references, num_labels=K, ignore_index=255
    )
    assert_identical(result, hub_mean_iou(predictions, references, K, 255))


@pytest.mark.parametrize("seed", range(5))
def test_many_classes_of_which_some_are_absent_equal_the_hubs_to_the_last_digit(metric, seed):
    predictions, references = random_images(count=3, seed=seed, num_labels=75)
    predictions = [2 * prediction for prediction in predictions]
    references = [np.where(label == 255, 255, 2 * label) for label in references]
    result = metric.compute(predictions=predictions, references=references, num_labels=150)
    assert_identical(result, hub_mean_iou(predictions, references, 150, 255))


def test_the_example_of_the_hubs_documentation_gives_its_numbers(metric):
    predictions = [
        [[1, 2], [3, 4], [5, 255]],
        [[2, 7], [9, 2], [3, 6]],
        [[2, 2, 3], [8, 2, 4], [3, 255, 2]],
    ]
    references = [
        [[0, 3], [5, 4], [6, 255]],
        [[1, 7], [9, 2], [3, 6]],
        [[1, 2, 2], [8, 2, 1], [3, 255, 1]],
    ]
    result = metric.compute(predictions=predictions, references=references, num_labels=10)
    assert result["mean_iou"] == 0.47750000000000004
    assert result["mean_accuracy"] == 0.5916666666666666
    assert result["overall_accuracy"] == 0.5263157894736842
    iou = [0, 0, 0.375, 0.4, 0.5, 0, 0.5, 1, 1, 1]
    np.testing.assert_array_equal(result["per_category_iou"], iou)


def test_keys_and_types_are_the_hubs_and_the_confusion_matrix(metric):
    predictions, references = random_images()
    result = metric.compute(predictions=predictions, references=references, num_labels=K)
    assert list(result) == [*KEYS, "confusion_matrix"]
    for key in KEYS[:3]:
        assert type(result[key]) is np.float64
    for key in KEYS[3:]:
        assert result[key].dtype == np.float64 and result[key].shape == (K,)


def test_label_map_maps_the_original_labels_as_the_hub_does(metric):
    predictions, references = random_images(seed=1)
    label_map = {0: 1, 1: 0, 4: 255}  # a swap, and a class that is left out
    result = metric.compute(
        predictions=predictions, references=references, num_labels=K, label_map=label_map
    )
    assert_identical(result, hub_mean_iou(predictions, references, K, 255, label_map))


def test_reduce_labels_equals_the_hubs(metric):
    predictions, references = random_images(seed=2)  # labels 0..5, of which 0 is background
    predictions = [np.minimum(prediction, K - 2) for prediction in predictions]
    result = metric.compute(
        predictions=predictions, references=references, num_labels=K - 1, reduce_labels=True
    )
    assert_identical(result, hub_mean_iou(predictions, references, K - 1, 255, reduce=True))


def test_reduced_background_and_minus_100_stay_ignored_whatever_ignore_index_is(metric):
    result = metric.compute(
        predictions=[[[0, 0, 0, 0, 0]]],
        references=[[[0, 255, -100, 2, 1]]],
        num_labels=2,
        ignore_index=1,
        reduce_labels=True,
    )
    assert result["confusion_matrix"].tolist() == [[1, 0], [0, 0]]


def test_a_class_that_occurs_nowhere_is_nan_and_nan_to_num_replaces_it(metric):
    masks = {"predictions": [[[0, 2]]], "references": [[[0, 2]]], "num_labels": 3}
    result = metric.compute(**masks)
    np.testing.assert_array_equal(result["per_category_iou"], [1, np.nan, 1])
    assert result["mean_iou"] == 1
    replaced = metric.compute(**masks, nan_to_num=-1)
    assert replaced["per_category_iou"].tolist() == [1, -1, 1]
    assert replaced["mean_iou"] == 1


@settings(deadline=None, max_examples=30)
@given(cuts=st.sets(st.integers(1, 6)), one_by_one=st.booleans(), keep=st.integers(0, 2))
def test_any_split_into_batches_gives_the_same_result(shared, cuts, one_by_one, keep):
    predictions, references = random_images(count=7, seed=3)
    whole = shared.compute(predictions=predictions, references=references, num_labels=K)
    added = 7 - keep  # the rest is given to compute
    bounds = [0, *sorted(cut for cut in cuts if cut < added), added]
    for start, stop in pairwise(bounds):
        batch = predictions[start:stop], references[start:stop]
        if one_by_one:
            for prediction, reference in zip(*batch, strict=True):
                shared.add(prediction=prediction, reference=reference)
        else:
            shared.add_batch(predictions=batch[0], references=batch[1])
    rest = {"predictions": predictions[added:], "references": references[added:]}
    assert_identical(shared.compute(**rest, num_labels=K), whole)


@pytest.mark.parametrize("convert", [np.uint8, np.int16, np.uint64, np.ndarray.tolist, "image"])
def test_masks_may_be_of_any_integer_kind(metric, convert):
    predictions, references = random_images(seed=4)
    expected = hub_mean_iou(predictions, references, K, 255)
    if convert == "image":
        kinds = [
            [Image.fromarray(m.astype(np.uint8)) for m in s] for s in (predictions, references)
        ]
    else:
        kinds = [[convert(mask) for mask in masks] for masks in (predictions, references)]
    assert_identical(
        metric.compute(predictions=kinds[0], references=kinds[1], num_labels=K), expected
    )


def test_ids_over_255_may_be_classes_and_65535_may_be_ignored(metric):
    result = metric.compute(
        predictions=[np.array([[300, 300]], dtype=np.uint16)],
        references=[np.array([[300, 65535]], dtype=np.uint16)],
        num_labels=301,
        ignore_index=65535,
    )
    assert result["confusion_matrix"][300, 300] == result["confusion_matrix"].sum() == 1


def test_compute_starts_anew(metric):
    metric.add(prediction=[[0]], reference=[[1]])
    assert len(metric) == 1
    metric.compute(num_labels=2)
    assert len(metric) == 0
    with pytest.raises(ValueError, match="nothing to score"):
        metric.compute(num_labels=2)
    assert metric.compute(predictions=[[[0]]], references=[[[0]]], num_labels=2)["mean_iou"] == 1


def test_a_compute_that_fails_loses_nothing_and_adds_nothing(metric):
    metric.add(prediction=[[0, 1]], reference=[[0, 1]])
    with pytest.raises(ValueError, match=r"prediction 2 is not in 0\.\.1"):
        metric.compute(predictions=[[[2]]], references=[[[0]]], num_labels=2)
    assert metric.compute(num_labels=2)["confusion_matrix"].tolist() == [[1, 0], [0, 1]]


def test_a_batch_that_fails_adds_nothing(metric):
    metric.add(prediction=[[0]], reference=[[0]])
    with pytest.raises(ValueError, match=r"image 2.*\(1, 1\).*\(1, 2\)"):
        metric.add_batch(predictions=[[[1]], [[1]]], references=[[[1]], [[1, 1]]])
    assert metric.compute(num_labels=2)["confusion_matrix"].tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("value", [K, 254])
@pytest.mark.parametrize("side", ["label", "prediction"])
def test_an_id_that_is_no_class_is_named(metric, side, value):
    masks = {"label": np.zeros((2, 2), int), "prediction": np.zeros((2, 2), int)}
    masks[side][1] = value
    metric.add(prediction=masks["prediction"], reference=masks["label"])
    with pytest.raises(ValueError, match=rf"{side} {value} is not in 0\.\.5 \(2 pixels"):
        metric.compute(num_labels=K)


@pytest.mark.parametrize("value", [-1, -101, 65536, 2**40])
@pytest.mark.parametrize("side", ["prediction", "reference"])
def test_a_value_that_can_be_no_id_is_named_at_once(metric, side, value):
    masks = {"prediction": np.zeros((2, 2), int), "reference": np.zeros((2, 2), int)}
    masks[side][0, 1] = value
    with pytest.raises(ValueError, match=rf"the {side} of image 0 holds {value},"):
        metric.add(**masks)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"predictions": [[[0]]]}, "given together"),
        ({"predictions": [[[0]]], "references": []}, "1 predictions, but 0 references"),
        ({"predictions": [[0, 1]], "references": [[0, 1]]}, r"\(height, width\)"),
        ({"predictions": [[[0.5]]], "references": [[[0]]]}, "float64"),
    ],
)
def test_what_is_no_batch_of_masks_is_refused(metric, masks, message):
    with pytest.raises(ValueError, match=message):
        metric.add_batch(**masks)
    assert len(metric) == 0


def test_a_confusion_matrix_may_be_given_in_the_place_of_masks(metric):
    predictions, references = random_images(seed=5)
    whole = metric.compute(predictions=predictions, references=references, num_labels=K)
    parts = [
        metric.compute(predictions=predictions[s], references=references[s], num_labels=K)
        for s in (slice(0, 2), slice(2, None))
    ]
    total = sum(part["confusion_matrix"] for part in parts)
    assert_identical(metric.compute(confusion_matrix=total, num_labels=K), whole)
    with pytest.raises(ValueError, match="num_labels is 3"):
        metric.compute(confusion_matrix=total, num_labels=3)
    metric.add(prediction=[[0]], reference=[[0]])
    with pytest.raises(ValueError, match="not both"):
        metric.compute(confusion_matrix=total, num_labels=K)


def test_several_processes_are_refused_with_the_way_out(load):
    with pytest.raises(ValueError, match=r"compute\(confusion_matrix=\.\.\.\)"):
        load(num_process=2, process_id=0, experiment_id="two")


def test_memory_does_not_grow_with_the_number_of_images(load):
    def peak_and_state(images):
        metric, rng = load(), np.random.default_rng(0)
        tracemalloc.start()
        try:
            for _ in range(images):
                mask = rng.integers(0, 20, (256, 256), dtype=np.uint8)
                metric.add_batch(predictions=[mask], references=[np.roll(mask, 1)])
            return tracemalloc.get_traced_memory()[::-1]
        finally:
            tracemalloc.stop()

    peak_and_state(20)  # what is allocated once
    peak_of_20, state_of_20 = peak_and_state(20)
    peak_of_200, state_of_200 = peak_and_state(200)
    one_image = 2 * 256 * 256
    assert abs(state_of_200 - state_of_20) < one_image
    assert abs(peak_of_200 - peak_of_20) < one_image


def test_it_loads_offline_in_two_processes_at_once_and_leaves_the_package_alone(tmp_path):
    folder = Path(hfseg.MEAN_IOU)
    before = sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    script = (
        "import sys, evaluate; metric = evaluate.load(sys.argv[1]); "
        "print(metric.compute(predictions=[[[0, 1]]], references=[[[0, 1]]], num_labels=2)"
        "['mean_iou'], 'hfseg' in sys.modules)"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, hfseg.MEAN_IOU],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert output.split() == ["1.0", "False"], errors
    after = sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    assert after == before
