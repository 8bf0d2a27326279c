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
    from hfseg.metrics.confusion import confusion_matrix_per_image

    data = Path(os.environ["HFSEG_REAL_DATA"])
    weights = data.parent / "weights" / "deeplabv3_mnv2_voc"
    rows, labels = load_dataset("voc", str(data / "VOCdevkit"), split="validation")
    rows = rows["validation"].select(range(30))
    names = ("tractor", *reversed(labels.names), "pond")
    model, processor = load_model(str(weights), LabelSet(names))
    trained = Segmenter.from_pretrained(weights, device="cpu").model
    both = [Segmenter(trained, processor), Segmenter(model, processor)]
    ids = [np.arange(21), np.array([0, *range(20, -1, -1), 0])]  # of VOC; new classes: background
    ious = []
    for segmenter, table in zip(both, ids, strict=True):
        confusion = np.zeros((21, 21), dtype=np.int64)
        for row in rows:
            predicted = table[segmenter(row["image"]).mask]
            label = np.array(row["label"])
            confusion += confusion_matrix_per_image(
                torch.from_numpy(predicted)[None], torch.from_numpy(label)[None].long(), 21, 255
            )[0].numpy()
        hits, seen = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
        ious.append(hits / np.maximum(seen - hits, 1))
    for name, before, after in zip(labels.names, *ious, strict=True):
        print(f"{name:12} before {before:.4f}  kept {after:.4f}")
    print(f"mean {np.mean(ious[0]):.4f} {np.mean(ious[1]):.4f}")
    assert np.mean(ious[1]) > 0.9 * np.mean(ious[0])
