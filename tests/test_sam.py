"""`hfseg.sam`: equal to transformers' SAM used by hand, pixel by pixel and point by point."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_sams import FAMILY, SIDE, photo, tiny_sam, tiny_sam2, tiny_sam2_video
from tolerance import TOLERANCE, assert_same_mask
from transformers import Sam2Model, SegformerConfig
from transformers.pipelines import MaskGenerationPipeline

from hfseg.errors import UserError
from hfseg.sam import Prompt, SamPredictor
from hfseg.sam import predictor as predictor_module
from hfseg.sam.load_sam import is_untrained

SIZES = ((96, 96), (120, 80), (70, 130))  # (width, height)
assert SIDE == 64  # these are larger and smaller than what the networks see
# every mask that random weights give, or none of the tests would see more than one
EVERYTHING = {"points_per_side": 6, "pred_iou_thresh": 0, "stability_score_thresh": 0.2}


@pytest.fixture(scope="module", params=FAMILY)
def family(request):
    return FAMILY[request.param]()


# everything


def pipeline_masks(model, processor, image: Image.Image, **options) -> list[np.ndarray]:
    pipe = MaskGenerationPipeline(model=model, image_processor=processor.image_processor)
    options = {"pred_iou_thresh": 0, "stability_score_thresh": 0.2, **options}
    found = pipe(image, points_per_crop=6, **options)
    return [np.asarray(mask) for mask in found["masks"]], np.asarray(found["scores"])


@pytest.mark.parametrize("nms", (0.7, 1.0))
@pytest.mark.parametrize("size", SIZES)
def test_segment_everything_equals_the_pipeline_for_sam(size, nms):
    model, processor = tiny_sam()
    theirs, scores = pipeline_masks(model, processor, photo(size), crops_nms_thresh=nms)
    ours = SamPredictor(model, processor).segment_everything(
        photo(size), box_nms_thresh=nms, **EVERYTHING
    )
    assert len(ours) == len(theirs) > (20 if nms == 1 else 0)
    assert_same_mask(ours.masks, theirs)
    np.testing.assert_allclose(ours.scores, scores, atol=TOLERANCE)
    assert (np.diff(ours.scores) <= 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_segment_everything_equals_the_pipeline_for_sam_2_with_points_on_the_complete_image(
    size, monkeypatch
):
    model, processor = tiny_sam2()
    make_crops = processor.image_processor.generate_crop_boxes

    def with_points_on_the_whole_image(image, *args, **options):
        crops, points, images, labels = make_crops(image, *args, **options)
        grid = [
            [[(x + 0.5) * size[0] / 6, (y + 0.5) * size[1] / 6]] for y in range(6) for x in range(6)
        ]
        placed = processor(image, input_points=[grid], return_tensors="pt")["input_points"]
        if size[0] == size[1]:
            torch.testing.assert_close(placed.reshape(-1, 2), points.reshape(-1, 2))
        return crops, placed.reshape(points.shape), images, labels

    monkeypatch.setattr(
        processor.image_processor, "generate_crop_boxes", with_points_on_the_whole_image
    )
    options = {"crops_nms_thresh": 1.0, "stability_score_thresh": 0.02}
    theirs, scores = pipeline_masks(model, processor, photo(size), **options)
    ours = SamPredictor(model, processor).segment_everything(
        photo(size), box_nms_thresh=1.0, **{**EVERYTHING, "stability_score_thresh": 0.02}
    )
    assert 108 > len(ours) == len(theirs) > 20
    assert_same_mask(ours.masks, theirs)
    np.testing.assert_allclose(ours.scores, scores, atol=TOLERANCE)


def test_batches_of_points_and_of_masks_change_nothing(monkeypatch):
    predictor = SamPredictor(*tiny_sam())
    whole = predictor.segment_everything(photo((120, 80)), box_nms_thresh=1.0, **EVERYTHING)
    monkeypatch.setattr(predictor_module, "_FULL_SIZE_VALUES_AT_ONCE", 3 * 120 * 80)
    largest = 0
    enlarge = predictor.processor.image_processor.post_process_masks

    def watched(masks, *args, **options):
        nonlocal largest
        largest = max(largest, len(masks[0]))
        return enlarge(masks, *args, **options)

    monkeypatch.setattr(predictor.processor.image_processor, "post_process_masks", watched)
    parts = predictor.segment_everything(
        photo((120, 80)), points_per_batch=5, box_nms_thresh=1.0, **EVERYTHING
    )
    assert_same_mask(parts.masks, whole.masks)
    assert largest == 3


def test_without_a_good_mask_the_result_is_empty():
    found = SamPredictor(*tiny_sam()).segment_everything(photo((30, 20)), pred_iou_thresh=99)
    assert found.masks.shape == (0, 20, 30) and found.masks.dtype == bool
    assert found.scores.shape == (0,)


def test_an_image_encoded_by_another_thread_changes_no_answer():
    predictor = SamPredictor(*tiny_sam())
    others = predictor.embed(photo((50, 40), seed=1))

    class Shared(SamPredictor):
        """The other thread is always the last one."""

        _last = property(lambda self: others, lambda self, value: None)

    shared = Shared(predictor.model, predictor.processor)
    image = photo((50, 40))
    assert_same_mask(
        shared.prompt(image, points=[(5, 5)]).masks, predictor.prompt(image, points=[(5, 5)]).masks
    )


# prompts

ASKED = {
    "a point": ([(11, 40)], [1], None),
    "points on it and beside it": ([(11, 40), (60, 5), (2, 3)], [1, 0, 1], None),
    "a box": (None, None, (5, 20, 58, 33)),
    "a box and a point": ([(30, 25)], [1], (5, 20, 58, 60)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("asked", ASKED)
def test_a_prompt_gives_the_same_mask_as_processor_and_model(family, asked, size):
    model, processor = family
    points, labels, box = ASKED[asked]
    image = photo(size, seed=size[0])
    given = {"images": image, "return_tensors": "pt"}
    if points is not None:
        given |= {"input_points": [[[list(xy) for xy in points]]], "input_labels": [[labels]]}
    if box is not None:
        given["input_boxes"] = [[list(box)]]
    inputs = processor(**given)
    sizes = {k: inputs.pop(k) for k in ("original_sizes", "reshaped_input_sizes") if k in inputs}
    ambiguous = points is not None and len(points) == 1 and box is None
    with torch.inference_mode():
        answer = model(**inputs, multimask_output=ambiguous)
    masks = processor.post_process_masks(answer.pred_masks, **sizes)[0][0]
    assert len(masks) == (3 if ambiguous else 1)
    best = answer.iou_scores[0, 0].argmax()

    found = SamPredictor(model, processor).prompt(
        image, points=points, point_labels=labels, boxes=box
    )
    assert found.masks.shape == (1, size[1], size[0])
    assert_same_mask(found.masks[0], masks[best])
    np.testing.assert_allclose(found.scores[0], answer.iou_scores[0, 0, best], atol=TOLERANCE)
    assert 0.01 < found.masks.mean() < 0.99


def test_prompts_in_a_batch_give_the_same_masks_as_one_by_one(monkeypatch):
    monkeypatch.setattr(predictor_module, "_PROMPTS_AT_ONCE", 3)
    monkeypatch.setattr(predictor_module, "_FULL_SIZE_VALUES_AT_ONCE", 2 * 120 * 80)
    predictor = SamPredictor(*tiny_sam2())
    image = photo((120, 80))
    prompts = [
        Prompt(tuple(points or ()), tuple(labels or ()), box)
        for points, labels, box in (*ASKED.values(), ([(100, 70)], [1], None))
    ] * 3
    together = predictor.prompt_each(image, prompts)
    for index, prompt in enumerate(prompts):
        alone = predictor.prompt_each(image, [prompt])
        assert_same_mask(together.masks[index], alone.masks[0])
        np.testing.assert_allclose(together.scores[index], alone.scores[0], atol=TOLERANCE)


def test_an_image_is_encoded_once_for_all_prompts_until_another_comes(monkeypatch):
    predictor = SamPredictor(*tiny_sam())
    encode, calls = predictor.model.get_image_embeddings, []
    monkeypatch.setattr(
        predictor.model, "get_image_embeddings", lambda pixels: calls.append(1) or encode(pixels)
    )
    first, second = photo((50, 40)), photo((50, 40), seed=1)
    answer = predictor.prompt(first, points=[(5, 5)])
    predictor.prompt(first.copy(), boxes=[(1, 2, 30, 30)])
    predictor.segment_everything(first, points_per_side=2)
    assert len(calls) == 1
    other = predictor.prompt(second, points=[(5, 5)])
    assert len(calls) == 2 and (other.masks != answer.masks).any()


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"points": [(60, 10)]}, "outside the image, which is 50 pixels wide and 40 high"),
        ({"points": [(10, 45)]}, "outside the image"),
        ({"points": [(-1, 5)]}, "outside the image"),
        ({"boxes": (10, 10, 51, 20)}, "outside the image"),
        ({"boxes": (30, 10, 20, 20)}, "corners of box"),
        ({"boxes": [(1, 1, 5, 5), (6, 6, 9, 9)]}, "prompt_each"),
        ({"points": [(5, 5)], "point_labels": [0]}, "a point on the object"),
        ({"points": [(5, 5)], "point_labels": [2]}, "1 \\(on the object\\) or 0"),
        ({"points": [(5, 5)], "point_labels": [1, 1]}, "1 point, but 2 point labels"),
        ({"points": [(5, float("nan"))]}, "a point must be \\(x, y\\), all finite numbers"),
        ({"points": [5, 6]}, "a point must be \\(x, y\\), all finite numbers"),
        ({}, "needs a point"),
    ],
)
def test_an_invalid_prompt_is_reported_in_one_sentence(asked, message):
    predictor = SamPredictor(*tiny_sam())
    with pytest.raises(UserError, match=message):
        predictor.prompt(photo((50, 40)), **asked)


# loading


def save(folder: Path, model, processor) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_every_family_is_recognized_from_its_config(family, tmp_path):
    model, processor = family
    loaded = SamPredictor.from_pretrained(save(tmp_path / "sam", model, processor), device="cpu")
    assert type(loaded.model) is type(model) and type(loaded.processor) is type(processor)
    image = photo((70, 50))
    ours = loaded.prompt(image, points=[(20, 30)])
    assert_same_mask(
        ours.masks, SamPredictor(model, processor).prompt(image, points=[(20, 30)]).masks
    )


def test_a_video_checkpoint_gives_its_image_model(tmp_path):
    video, processor = tiny_sam2_video()
    loaded = SamPredictor.from_pretrained(save(tmp_path / "sam", video, processor), device="cpu")
    assert type(loaded.model) is Sam2Model
    theirs = video.state_dict()
    for name, weights in loaded.model.state_dict().items():
        assert torch.equal(weights, theirs[name]), name
    assert len(loaded.prompt(photo((70, 50)), points=[(20, 30)])) == 1


def test_a_model_that_is_not_a_sam_is_reported_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"not a model of the SAM family \(its type: segformer\)"):
        SegformerConfig().save_pretrained(tmp_path / "other")
        SamPredictor.from_pretrained(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no model"):
        SamPredictor.from_pretrained(tmp_path / "empty")
    with pytest.raises(UserError, match=r"facebook/sam2.* is not a local folder, and"):
        SamPredictor.from_pretrained("facebook/sam2.1-hiera-tiny")
    with pytest.raises(UserError, match="choose from fp32"):
        SamPredictor.from_pretrained("facebook/sam2.1-hiera-tiny", dtype="int3")


def test_damaged_or_missing_weights_are_reported_in_one_sentence(tmp_path):
    model, processor = tiny_sam()
    whole = save(tmp_path / "sam", model, processor)
    cut = Path(shutil.copytree(whole, tmp_path / "cut"))
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="can't be loaded"):
        SamPredictor.from_pretrained(cut)
    torn = {k: v for k, v in model.state_dict().items() if not k.startswith("mask_decoder.iou")}
    model.save_pretrained(tmp_path / "torn", state_dict=torn)
    processor.save_pretrained(tmp_path / "torn")
    with pytest.raises(UserError, match=r"lacks \d+ weights of SamModel \(mask_decoder.iou"):
        SamPredictor.from_pretrained(tmp_path / "torn")


def test_untrained_weights_are_recognized_until_the_first_training_step(family):
    model, processor = family
    assert is_untrained(model)
    trained = type(model)(model.config)
    trained.load_state_dict(model.state_dict())
    inputs = processor(images=photo((40, 40)), input_points=[[[[5, 5]]]], return_tensors="pt")
    keep = ("pixel_values", "input_points")
    answer = trained(**{key: inputs[key] for key in keep})
    (answer.pred_masks.square().mean() + answer.iou_scores.sum()).backward()
    torch.optim.SGD(trained.parameters(), lr=1e-3).step()
    assert not is_untrained(trained)
