"""Scores of a split: parity with scikit-learn, torchmetrics and our `evaluate` module."""

import evaluate
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score
from torchmetrics.functional.classification import multiclass_jaccard_index

import hfseg
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics import scores
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.table import TRAINING_METRICS

LABELS = LabelSet(("a", "b", "c", "d"))


def random_pairs(count: int = 6, seed: int = 0):
    """Predictions and labels of several sizes, with ignored pixels; class 3 is rare."""
    generator = torch.Generator().manual_seed(seed)
    for index in range(count):
        shape = (12 + index, 17)
        label = torch.randint(0, 3, shape, generator=generator)
        label[0, 0] = 3
        noise = torch.rand(shape, generator=generator)
        prediction = torch.where(
            noise < 0.3, torch.randint(0, 4, shape, generator=generator), label
        )
        label = torch.where(noise > 0.9, 255, label)
        yield prediction, label


def scored(indices=range(6), **options) -> SplitScores:
    result = SplitScores(LABELS, **options)
    for index, (prediction, label) in enumerate(random_pairs()):
        if index in indices:
            result.add(index, prediction, label)
    return result


def flat():
    truth = torch.cat([label.flatten() for _, label in random_pairs()])
    prediction = torch.cat([prediction.flatten() for prediction, _ in random_pairs()])
    return truth[truth != 255], prediction[truth != 255]


def test_iou_and_dice_equal_scikit_learn_and_torchmetrics():
    truth, prediction = flat()
    result = scored().compute()
    np.testing.assert_allclose(
        result["per_category_iou"], jaccard_score(truth, prediction, average=None), rtol=1e-12
    )
    np.testing.assert_allclose(
        result["per_category_dice"], f1_score(truth, prediction, average=None), rtol=1e-12
    )
    theirs = multiclass_jaccard_index(prediction, truth, num_classes=4, average="macro")
    assert result["mean_iou"] == pytest.approx(theirs.item(), rel=1e-6)
    weighted = jaccard_score(truth, prediction, average="weighted")
    assert result["frequency_weighted_iou"] == pytest.approx(weighted, rel=1e-12)


def test_scores_equal_the_evaluate_module_to_the_last_digit_on_any_matrix():
    module = evaluate.load(hfseg.MEAN_IOU)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        confusion = generator.integers(0, 50, (5, 5)) * (generator.random((5, 5)) < 0.4)
        theirs, ours = module.compute(confusion_matrix=confusion, num_labels=5), scores(confusion)
        for key in theirs.keys() & ours.keys():
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)


def test_a_prediction_of_no_class_of_the_data_is_wrong_for_its_true_class():
    result = SplitScores(LABELS)
    label = torch.tensor([[0, 0, 1, 1]])
    result.add(0, torch.tensor([[0, 4, 1, 1]]), label)
    found = result.compute()
    np.testing.assert_array_equal(found["per_category_iou"], [0.5, 1, np.nan, np.nan])
    assert found["mean_iou"] == 0.75 and found["overall_accuracy"] == 0.75
    assert result.absent == ["c", "d"]


def test_a_label_out_of_range_is_an_error():
    with pytest.raises(UserError, match="label"):
        SplitScores(LABELS).add(0, torch.zeros(1, 2).long(), torch.tensor([[0, 4]]))


def test_parts_of_several_processes_merge_into_the_whole():
    whole, merged = scored(), scored((1, 3, 4))
    merged.merge(scored((0, 2, 5)))
    for key, value in whole.compute().items():
        np.testing.assert_array_equal(merged.compute()[key], value, err_msg=key)
    assert merged.image_scores() == whole.image_scores()
    assert merged.interval() == whole.interval()


def test_the_score_of_an_image_is_its_own_mean_iou():
    pairs = list(random_pairs())
    alone = SplitScores(LABELS)
    alone.add(0, *pairs[2])
    assert scored().image_scores()[2] == pytest.approx(alone.compute()["mean_iou"], rel=1e-12)


def test_the_interval_holds_the_score_and_shrinks_with_more_images():
    result = scored(metrics=TRAINING_METRICS)
    low, high = result.interval().bounds
    assert low < result.compute()["mean_iou"] < high
    more = SplitScores(LABELS, TRAINING_METRICS)
    for index, pair in enumerate(random_pairs(60)):
        more.add(index, *pair)
    assert np.diff(more.interval().bounds)[0] < 0.6 * (high - low)


def test_the_interval_of_equal_images_is_a_point():
    result = SplitScores(LABELS, TRAINING_METRICS)
    pair = next(random_pairs())
    for index in range(5):
        result.add(index, *pair)
    assert result.interval().bounds == pytest.approx((result.compute()["mean_iou"],) * 2)
