"""SAM 3 by class names: both protocols beside transformers' post-processing, and its rows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_folder
from PIL import Image
from tiny_sam3 import tiny_sam3

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam import class_prompter
from hfseg.sam.class_prompter import ClassPrompter, read_class_prompts

LABELS = LabelSet(("background", "traffic_light", "road", "sky"))
SIZE = (50, 70)


@pytest.fixture(scope="module", params=[False, True], ids=["sam3", "sam3_lite_text"])
def sam3(request):
    return tiny_sam3(lite=request.param)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
@torch.no_grad()
def outputs(sam3, image):
    """What transformers makes of each class, asked on its own."""
    model, processor = sam3
    inputs = [
        processor(images=image, text=text, return_tensors="pt")
        for text in ("traffic light", "road", "sky")
    ]
    return [
        model(**{name: each[name] for name in ("pixel_values", "input_ids", "attention_mask")})
        for each in inputs
    ]


def presence(output) -> float:
    return output.presence_logits.sigmoid().item()


def test_semantic_scores_are_those_of_transformers_times_presence(
    sam3, image, outputs, monkeypatch
) -> None:
    scores = torch.stack(
        [
            sam3[1]
            .post_process_semantic_segmentation(
                output, target_sizes=[SIZE], return_segmentation_scores=True
            )[0]
            .segmentation_scores[0]
            * presence(output)
            for output in outputs
        ]
    )
    best, index = scores.max(0)
    threshold = float(best.median())
    monkeypatch.setattr(class_prompter, "MASK_THRESHOLD", threshold)
    expected = torch.where(best > threshold, index + 1, 0).numpy()
    found = ClassPrompter(*sam3, LABELS).segment(image).semantic
    assert len(np.unique(expected)) > 1
    assert (found == expected).mean() > 0.999


def test_instances_are_those_of_transformers_with_the_best_on_top(
    sam3, image, outputs, monkeypatch
) -> None:
    scores = torch.cat([each.pred_logits.sigmoid()[0] * presence(each) for each in outputs])
    threshold = float(scores.median())
    inside = float(torch.cat([each.pred_masks.sigmoid().flatten() for each in outputs]).median())
    monkeypatch.setattr(class_prompter, "INSTANCE_THRESHOLD", threshold)
    monkeypatch.setattr(class_prompter, "MASK_THRESHOLD", inside)
    pieces = []
    for index, output in enumerate(outputs, 1):
        (answer,) = sam3[1].post_process_instance_segmentation(
            output, threshold=threshold, mask_threshold=inside, target_sizes=[SIZE]
        )
        pieces += [
            (float(score), index, mask.bool().numpy())
            for score, mask in zip(answer["scores"], answer["masks"], strict=True)
        ]
    expected = np.zeros(SIZE, dtype=np.int64)
    for _, index, mask in sorted(pieces, key=lambda piece: piece[0]):
        expected[mask] = index
    found = ClassPrompter(*sam3, LABELS).segment(image)
    assert len(found.masks) == len(pieces) > 1
    assert len(np.unique(expected)) > 1
    assert (found.instances == expected).mean() > 0.999


def test_features_are_computed_once(sam3, image, monkeypatch) -> None:
    calls = {"get_vision_features": 0, "get_text_features": 0}
    for name in calls:
        real = getattr(sam3[0], name)

        def counted(*args, name=name, real=real, **kwargs):
            calls[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(sam3[0], name, counted)
    prompter = ClassPrompter(*sam3, LABELS)
    prompter.segment(image)
    prompter.segment(image)
    assert calls == {"get_vision_features": 2, "get_text_features": 3}


def test_without_a_background_what_is_not_found_has_no_class(sam3, image, monkeypatch) -> None:
    for name in ("INSTANCE_THRESHOLD", "MASK_THRESHOLD"):
        monkeypatch.setattr(class_prompter, name, 1.0)
    answer = ClassPrompter(*sam3, LabelSet(("road", "sky"))).segment(image)
    assert (answer.instances == 2).all() and (answer.semantic == 2).all()


def test_class_prompts_replace_names(sam3, tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text("Traffic Light: lamp\n")
    prompts = read_class_prompts(path, LABELS)
    assert prompts == {"traffic_light": "lamp"}
    assert ClassPrompter(*sam3, LABELS, prompts).texts == ["lamp", "road", "sky"]
    path.write_text("tree: oak\n")
    with pytest.raises(UserError, match="the dataset has no class 'tree'"):
        read_class_prompts(path, LABELS)
    with pytest.raises(UserError, match="can't be read"):
        read_class_prompts(tmp_path / "none.yaml", LABELS)


def test_another_model_is_refused(tmp_path: Path) -> None:
    from tiny_segformer import save_tiny

    with pytest.raises(UserError, match="is a 'segformer' model: give a SAM 3"):
        ClassPrompter.from_pretrained(str(save_tiny(tmp_path)), LABELS)


def test_compare_sam_has_its_rows(sam3, tmp_path: Path) -> None:
    from tiny_sams import tiny_sam2
    from tiny_segformer import save_tiny

    from hfseg.config.data import DataArguments
    from hfseg.config.evaluation import SamArguments
    from hfseg.workflows.compare_sam import compare_sam

    for part in sam3:
        part.save_pretrained(tmp_path / "sam3")
    for part in tiny_sam2():
        part.save_pretrained(tmp_path / "sam2")
    model, output = save_tiny(tmp_path / "model"), tmp_path / "out"
    data = make_folder(tmp_path / "data", count=3)
    (tmp_path / "map.yaml").write_text("sky: ground\nroad: wall\ntree: roof\n")
    compare_sam(
        SamArguments(
            model_name_or_path=str(model), sam=str(tmp_path / "sam2"), split="train",
            sam3=str(tmp_path / "sam3"), points_per_side=2, num_figures=1,
            class_map=str(tmp_path / "map.yaml"), output_dir=str(output),
        ),
        DataArguments(dataset_name="folder", dataset_path=str(data)),
    )  # fmt: skip
    results = json.loads((output / "results.json").read_text())
    assert list(results["methods"])[4:] == ["sam3_instances", "sam3_semantic"]
    for name in ("sam3_instances", "sam3_semantic"):
        way = results["methods"][name]
        assert way["classes_from"] == "class names" and way["seconds_per_image"] > 0
        assert 0 <= way["mean_iou"] <= 1 and "mean_boundary_iou" in way
    assert results["sam_is_untrained"]
    assert "prompted with each class name" in (output / "results.md").read_text()
    assert (output / results["figures"][0]).is_file()
