"""Our mean IoU equals that of other libraries on the same predictions (docs/parity.md).

The Hub's `mean_iou` is compared in test_mean_iou.py, scikit-learn in test_confusion.py.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import MulticlassJaccardIndex

from hfseg.data.readers import cityscapes
from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.table import TRAINING_METRICS

K = 19
_VOID_CLASS = K  # a prediction that is none of the classes


def masks(count: int = 4, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Predictions and labels with ignored pixels; class 17 is only predicted, 18 occurs nowhere."""
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        label = generator.integers(0, 17, (40, 60))
        wrong = generator.integers(0, 18, label.shape)
        prediction = np.where(generator.random(label.shape) < 0.7, label, wrong)
        pairs.append((prediction, np.where(generator.random(label.shape) < 0.1, 255, label)))
    return pairs


def ours(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    scores = SplitScores(LabelSet(tuple(f"class {index}" for index in range(K))), TRAINING_METRICS)
    for index, (prediction, label) in enumerate(pairs):
        scores.add(index, torch.from_numpy(prediction), torch.from_numpy(label))
    return scores.compute()


def test_mean_iou_equals_torchmetrics_jaccard_index() -> None:
    theirs = MulticlassJaccardIndex(K, average="macro", ignore_index=255)
    for prediction, label in masks():
        theirs.update(torch.from_numpy(prediction), torch.from_numpy(label))
    assert ours(masks())["mean_iou"] == pytest.approx(theirs.compute().item(), rel=1e-6)


def mmsegmentation_scores(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The formula of MMSegmentation 1.x's `IoUMetric`: float32 histograms, percent, two digits."""
    areas = torch.zeros(3, K)
    for prediction, label in pairs:
        valid = label != 255
        found, true = prediction[valid], label[valid]
        for row, ids in enumerate((found[found == true], found, true)):
            areas[row] += torch.histc(torch.from_numpy(ids).float(), bins=K, min=0, max=K - 1)
    both, predicted, labeled = areas.numpy()
    with np.errstate(invalid="ignore"):
        per_class = {"mIoU": both / (predicted + labeled - both), "mAcc": both / labeled}
        per_class["mDice"] = 2 * both / (predicted + labeled)
    scores = {name: np.round(np.nanmean(values) * 100, 2) for name, values in per_class.items()}
    return scores | {"aAcc": np.round(both.sum() / labeled.sum() * 100, 2)}


def test_scores_equal_the_formula_of_mmsegmentation_in_percent_with_two_digits() -> None:
    theirs, found = mmsegmentation_scores(masks()), ours(masks())
    keys = {"mIoU": "mean_iou", "mAcc": "mean_accuracy", "mDice": "mean_dice"}
    for name, key in (*keys.items(), ("aAcc", "overall_accuracy")):
        assert theirs[name] == pytest.approx(100 * found[key], abs=0.0051)


def test_mean_iou_equals_the_official_script_of_cityscapes(tmp_path: Path) -> None:
    script = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="Cityscapes script: pip install --no-deps cityscapesscripts pyquaternion",
    )
    from cityscapesscripts.helpers.labels import trainId2label

    label_set, _ = cityscapes.labels()
    assert label_set.names == tuple(trainId2label[index].name for index in range(K))
    raw = np.zeros(256, dtype=np.uint8)  # 0 is `unlabeled`, which the script ignores
    raw[:K] = [trainId2label[index].id for index in range(K)]
    pairs = masks()
    pairs[0][0][:5] = _VOID_CLASS  # predicted void: a miss, and no false positive
    files: list[list[str]] = [[], []]
    for number, pair in enumerate(pairs):
        for names, ids, kind in zip(files, pair, ("pred", "gt"), strict=True):
            names.append(str(tmp_path / f"{number}_{kind}.png"))
            Image.fromarray(raw[ids]).save(names[-1])
    script.args.quiet, script.args.evalInstLevelScore = True, False
    script.args.JSONOutput = False
    theirs = script.evaluateImgLists(*files, script.args)
    found = ours(pairs)
    iou = [theirs["classScores"][name] for name in label_set.names]
    np.testing.assert_allclose(found["per_category_iou"], iou, rtol=1e-12)
    assert found["mean_iou"] == pytest.approx(theirs["averageScoreClasses"], rel=1e-12)
