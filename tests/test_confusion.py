"""Confusion counts with torch, and the scores of a confusion matrix."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import jaccard_score, recall_score
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

from hfseg import UserError
from hfseg.labels import LabelSet
from hfseg.metrics import confusion_matrix, confusion_matrix_per_image, scores
from hfseg.metrics.confusion import count_pairs
from hfseg.metrics.streaming import StreamingScores

K = 5


def masks(values):
    shape = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
    return shape.flatmap(
        lambda s: st.tuples(
            hnp.arrays(np.int64, s, elements=st.integers(0, K - 1)),
            hnp.arrays(np.int64, s, elements=st.sampled_from(values)),
        )
    )


def random_batch(seed=0, images=4, size=16, num_labels=K):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_labels, (images, size, size))
    predictions = np.where(rng.random(labels.shape) < 0.5, labels, (labels + 1) % num_labels)
    labels[rng.random(labels.shape) < 0.1] = 255
    return torch.from_numpy(predictions), torch.from_numpy(labels)


@settings(deadline=None, max_examples=60)
@given(masks([*range(K), 255, -100]))
def test_counts_agree_with_a_loop_over_pixels(pair):
    predictions, labels = pair
    expected = np.zeros((len(labels), K, K), dtype=np.int64)
    for image in range(len(labels)):
        for truth, predicted in zip(labels[image].flat, predictions[image].flat, strict=True):
            if truth not in (255, -100):
                expected[image, truth, predicted] += 1
    batch = torch.from_numpy(predictions), torch.from_numpy(labels)
    per_image = confusion_matrix_per_image(*batch, K)
    assert per_image.dtype == torch.int64
    np.testing.assert_array_equal(per_image.numpy(), expected)
    np.testing.assert_array_equal(confusion_matrix(*batch, K).numpy(), expected.sum(0))


def test_one_image_counts_as_a_batch_of_one():
    predictions, labels = random_batch(images=1)
    single = confusion_matrix_per_image(predictions[0], labels[0], K)
    assert single.shape == (1, K, K)
    assert torch.equal(single, confusion_matrix_per_image(predictions, labels, K))


def test_uint8_labels_count_like_int64_labels():
    predictions, labels = random_batch()
    assert torch.equal(
        confusion_matrix(predictions.to(torch.uint8), labels.to(torch.uint8), K),
        confusion_matrix(predictions, labels, K),
    )


def test_label_156_in_uint8_is_not_taken_for_minus_100():
    labels = torch.full((2, 2), 156, dtype=torch.uint8)
    assert confusion_matrix(torch.zeros_like(labels), labels, 157)[156, 0] == 4


def test_an_image_without_pixels_counts_nothing():
    empty = torch.zeros((2, 0, 7), dtype=torch.int64)
    assert confusion_matrix_per_image(empty, empty, K).tolist() == np.zeros((2, K, K)).tolist()


@pytest.mark.parametrize("value", [-1, -100, K, 255, 1000])
def test_a_prediction_out_of_range_is_named(value):
    predictions, labels = torch.zeros((2, 3, 3)).long(), torch.zeros((2, 3, 3)).long()
    predictions[1, 2, 0] = value
    with pytest.raises(UserError, match=rf"prediction {value} is not in 0\.\.4 \(1 pixels"):
        confusion_matrix(predictions, labels, K)


@pytest.mark.parametrize("value", [-1, K, 254])
def test_a_label_out_of_range_is_named(value):
    predictions, labels = torch.zeros((2, 3, 3)).long(), torch.zeros((2, 3, 3)).long()
    labels[0, 1] = value
    with pytest.raises(UserError, match=rf"label {value} is not in 0\.\.4 \(3 pixels"):
        confusion_matrix(predictions, labels, K)


def test_count_pairs_counts_ids_that_are_no_class_in_a_row_and_a_column_of_their_own():
    labels = torch.tensor([[0, 1, 7, -3, 255]])
    predictions = torch.tensor([[0, 9, 1, 1, 9]])
    counts = count_pairs(predictions, labels, 2)
    assert counts.tolist() == [[[1, 0, 0], [0, 0, 1], [0, 2, 0]]]


def test_streaming_scores_refuse_a_label_that_is_no_class():
    labels = torch.tensor([[[0, 1, 2]]])
    counts = count_pairs(torch.zeros_like(labels), labels, 2)
    batch = SimpleNamespace(
        predictions=(counts, torch.zeros(1, 2, 2), torch.zeros(1, 3, 15).long()),
        label_ids=torch.tensor([12]),
    )
    with pytest.raises(UserError, match=r"sample 12: 1 labels are not in 0\.\.1"):
        StreamingScores(LabelSet(("a", "b")))(batch)


@pytest.mark.parametrize("ignored", [255, -100])
def test_a_prediction_at_an_ignored_pixel_may_be_anything(ignored):
    predictions = torch.tensor([[0, 255, -100, 999]])
    labels = torch.tensor([[0, ignored, ignored, ignored]])
    assert confusion_matrix(predictions, labels, K).sum() == 1


def test_ignore_index_may_be_a_class():
    predictions, labels = torch.tensor([[0, 1, 0]]), torch.tensor([[0, 0, 1]])
    assert confusion_matrix(predictions, labels, 2, ignore_index=0).tolist() == [[0, 0], [1, 0]]


def test_shapes_that_differ_are_refused():
    with pytest.raises(UserError, match=r"\(2, 3\) and \(3, 2\)"):
        confusion_matrix(torch.zeros((2, 3)).long(), torch.zeros((3, 2)).long(), K)


def test_logits_are_refused():
    with pytest.raises(UserError, match=r"predictions must be integer .* torch.float32"):
        confusion_matrix(torch.zeros((2, 3)), torch.zeros((2, 3)).long(), K)


def test_iou_and_accuracy_equal_scikit_learns():
    predictions, labels = random_batch()
    result = scores(confusion_matrix(predictions, labels, K))
    counted = labels != 255
    truth, predicted = labels[counted].numpy(), predictions[counted].numpy()
    iou = jaccard_score(truth, predicted, average=None)
    np.testing.assert_allclose(result["per_category_iou"], iou, rtol=1e-12)
    recall = recall_score(truth, predicted, average=None)
    np.testing.assert_allclose(result["per_category_accuracy"], recall, rtol=1e-12)
    assert result["overall_accuracy"] == pytest.approx((truth == predicted).mean(), rel=1e-12)


def test_iou_equals_torchmetrics_jaccard_index():
    predictions, labels = random_batch(seed=1)
    result = scores(confusion_matrix(predictions, labels, K))
    per_class = MulticlassJaccardIndex(K, average="none", ignore_index=255)(predictions, labels)
    np.testing.assert_allclose(result["per_category_iou"], per_class.numpy(), rtol=1e-6)
    mean = MulticlassJaccardIndex(K, average="macro", ignore_index=255)(predictions, labels)
    assert result["mean_iou"] == pytest.approx(mean.item(), rel=1e-6)


def test_the_mean_over_images_equals_torchmetrics_mean_iou():
    predictions, labels = random_batch(seed=2)
    labels[labels == 255] = 0  # MeanIoU knows no ignored pixels
    per_image = confusion_matrix_per_image(predictions, labels, K)
    ours = np.mean([scores(matrix)["mean_iou"] for matrix in per_image])
    theirs = MeanIoU(num_classes=K, input_format="index")
    theirs.update(predictions, labels)
    assert ours == pytest.approx(theirs.compute().item(), rel=1e-6)


def test_a_class_that_occurs_nowhere_is_nan_and_left_out_of_the_mean():
    result = scores(np.diag([4, 0, 2]))
    np.testing.assert_array_equal(result["per_category_iou"], [1, np.nan, 1])
    np.testing.assert_array_equal(result["per_category_accuracy"], [1, np.nan, 1])
    assert result["mean_iou"] == 1 and result["mean_accuracy"] == 1


def test_a_class_that_is_only_predicted_counts_as_zero_iou_and_has_no_accuracy():
    result = scores([[3, 1], [0, 0]])
    np.testing.assert_array_equal(result["per_category_iou"], [0.75, 0])
    np.testing.assert_array_equal(result["per_category_accuracy"], [0.75, np.nan])
    assert result["mean_iou"] == 0.375 and result["mean_accuracy"] == 0.75


@pytest.mark.filterwarnings("error")
def test_nothing_counted_scores_nan_without_a_warning():
    result = scores(torch.zeros((2, 2), dtype=torch.int64))
    assert all(np.isnan(value).all() for value in result.values())


@pytest.mark.parametrize(
    ("matrix", "message"),
    [(np.zeros((3, 2)), r"\(3, 2\)"), (np.zeros(3), r"\(3,\)"), ([[1, -2], [0, 0]], "-2")],
)
def test_what_is_not_a_confusion_matrix_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        scores(matrix)
