"""A head keeps what it knows of classes of the same name."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_universal import EOMT, MASK2FORMER

from hfseg.labels import LabelSet
from hfseg.models import load_model

BEFORE = LabelSet(("sky", "Traffic_Light", "road"))
AFTER = LabelSet(("pole", "road", "traffic light", "car"))
UPERNET = {
    "backbone_config.embed_dim": 12, "backbone_config.depths": [1, 1, 1, 1], "hidden_size": 16,
    "auxiliary_channels": 16,
}  # fmt: skip


def save(folder: Path, name: str, labels: LabelSet, options: dict):
    torch.manual_seed(0)
    model, processor = load_model(name, labels, pretrained=False, **options)
    for part in (model, processor):
        part.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "options"),
    [("segformer-tiny", {}), ("unet-resnet18", {}), ("upernet-swin-tiny", UPERNET)],
)
@torch.no_grad()
def test_classes_of_the_same_name_answer_as_before(name, options, tmp_path, caplog) -> None:
    old = save(tmp_path, name, BEFORE, options)
    caplog.set_level(logging.WARNING, logger="hfseg")
    new, _ = load_model(str(tmp_path), AFTER)
    image = torch.randn(1, 3, 64, 64)
    before, after = (model.eval()(pixel_values=image).logits for model in (old, new))
    assert after.shape[1] == 4 and after.isfinite().all()
    torch.testing.assert_close(after[:, [1, 2]], before[:, [2, 1]])
    was = before.argmax(1)
    kept = was != 0  # sky is no longer a class
    assert torch.equal(after.argmax(1)[kept], torch.tensor([-1, 2, 1])[was[kept]])
    assert "the head keeps 2 classes by name (road, traffic light)" in caplog.text
    assert "to be learned in this run: pole, car" in caplog.text
    assert LabelSet.from_config(new.config) == AFTER


@pytest.mark.parametrize(
    ("name", "options"), [("eomt-vit-small", EOMT), ("mask2former-swin-tiny", MASK2FORMER)]
)
@torch.no_grad()
def test_universal_heads_keep_their_no_object_too(name, options, tmp_path) -> None:
    old = save(tmp_path, name, BEFORE, options)
    new, _ = load_model(str(tmp_path), AFTER)
    image = torch.randn(1, 3, 64, 64)
    before, after = (model.eval()(pixel_values=image).class_queries_logits for model in (old, new))
    torch.testing.assert_close(after[..., [1, 2, 4]], before[..., [2, 1, 3]])
    mean = before[..., :3].mean(-1, keepdim=True).expand(-1, -1, 2)
    torch.testing.assert_close(after[..., [0, 3]], mean)


@torch.no_grad()
def test_a_permutation_of_the_same_classes_is_followed(tmp_path) -> None:
    old = save(tmp_path, "segformer-tiny", BEFORE, {})
    new, _ = load_model(str(tmp_path), LabelSet(("road", "sky", "traffic-light")))
    image = torch.randn(1, 3, 64, 64)
    before, after = (model.eval()(pixel_values=image).logits for model in (old, new))
    torch.testing.assert_close(after, before[:, [2, 0, 1]])


def test_no_class_of_the_same_name_leaves_a_new_head(tmp_path, caplog) -> None:
    save(tmp_path, "segformer-tiny", BEFORE, {})
    load_model(str(tmp_path), LabelSet(("a", "b")))
    assert "the head keeps" not in caplog.text and "reinitialized" in caplog.text


@pytest.mark.skipif("HFSEG_REAL_DATA" not in os.environ, reason="real data: set HFSEG_REAL_DATA")
def test_kept_classes_of_voc_start_at_their_old_iou() -> None:
    from hfseg.data import load_dataset
    from hfseg.inference.segmenter import Segmenter
    from hfseg.metrics.split_scores import SplitScores
    from hfseg.metrics.table import TRAINING_METRICS

    data = Path(os.environ["HFSEG_REAL_DATA"])
    weights = str(data.parent / "weights" / "deeplabv3_mnv2_voc")
    rows, labels = load_dataset("voc", str(data / "VOCdevkit"), split="validation")
    names = ("tractor", *reversed(labels.names), "pond")
    # ids of VOC; a new class would be an error everywhere
    tables = [np.arange(21), np.array([21, *range(20, -1, -1), 21])]
    ious = []
    for chosen, table in zip((labels, LabelSet(names)), tables, strict=True):
        segmenter = Segmenter(*load_model(weights, chosen))
        scores = SplitScores(labels, TRAINING_METRICS)
        for index, row in enumerate(rows["validation"].select(range(30))):
            predicted = torch.from_numpy(table[segmenter(row["image"]).mask])
            scores.add(index, predicted, torch.from_numpy(np.array(row["label"])).long())
        ious.append(np.array(scores.compute()["per_category_iou"]))
    for name, before, after in zip(labels.names, *ious, strict=True):
        print(f"{name:12} before {before:.4f}  kept {after:.4f}")
    print(f"mean         before {np.nanmean(ious[0]):.4f}  kept {np.nanmean(ious[1]):.4f}")
    np.testing.assert_allclose(ious[1], ious[0], atol=1e-3)
