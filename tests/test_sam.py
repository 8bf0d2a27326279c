"""`hfseg.sam`: equal to transformers' SAM used by hand, pixel by pixel and point by point."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from tiny_sams import FAMILY, SIDE, tiny_sam, tiny_sam2, tiny_sam2_video
from transformers import Sam2Model, SegformerConfig
from transformers.pipelines import MaskGenerationPipeline

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam import (
    Prompt,
    SamMasks,
    SamPredictor,
    mask_recall,
    oracle,
    prompts_from_mask,
    refine_by_prompts,
    refine_by_votes,
)
from hfseg.sam import predictor as predictor_module
from hfseg.sam.checkpoint import is_untrained
from hfseg.sam.refinement import outlined
from hfseg.sam.regions import regions

SIZES = ((96, 96), (120, 80), (70, 130))  # (width, height)
LABELS = LabelSet(("ground", "wall", "roof", "tree"))
# every mask that random weights give, or none of the tests would see more than one
EVERYTHING = {"points_per_side": 6, "pred_iou_thresh": 0, "stability_score_thresh": 0.2}


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


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
def test_everything_of_sam_is_what_the_pipeline_gives(size, nms):
    model, processor = tiny_sam()
    theirs, scores = pipeline_masks(model, processor, photo(size), crops_nms_thresh=nms)
    ours = SamPredictor(model, processor).segment_everything(
        photo(size), box_nms_thresh=nms, **EVERYTHING
    )
    assert len(ours) == len(theirs) > (20 if nms == 1 else 0)
    np.testing.assert_array_equal(ours.masks, theirs)
    np.testing.assert_array_equal(ours.scores, scores)
    assert (np.diff(ours.scores) <= 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_everything_of_sam_2_is_what_the_pipeline_gives_with_points_on_the_whole_image(
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
    np.testing.assert_array_equal(ours.masks, theirs)
    np.testing.assert_allclose(ours.scores, scores, atol=1e-6)


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
    np.testing.assert_array_equal(parts.masks, whole.masks)
    assert largest == 3


def test_no_mask_good_enough_is_no_mask_at_all():
    found = SamPredictor(*tiny_sam()).segment_everything(photo((30, 20)), pred_iou_thresh=99)
    assert found.masks.shape == (0, 20, 30) and found.masks.dtype == bool
    assert found.scores.shape == (0,)


def test_an_image_that_another_thread_encodes_meanwhile_changes_no_answer():
    predictor = SamPredictor(*tiny_sam())
    others = predictor.embed(photo((50, 40), seed=1))

    class Shared(SamPredictor):
        """The other thread is always the last one."""

        _last = property(lambda self: others, lambda self, value: None)

    shared = Shared(predictor.model, predictor.processor)
    image = photo((50, 40))
    np.testing.assert_array_equal(
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
def test_a_prompt_is_answered_as_by_processor_and_model_used_by_hand(family, asked, size):
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
    np.testing.assert_array_equal(found.masks[0], masks[best].numpy())
    np.testing.assert_allclose(found.scores[0], answer.iou_scores[0, 0, best], atol=1e-5)
    assert 0.01 < found.masks.mean() < 0.99


def test_many_prompts_are_answered_as_each_alone(monkeypatch):
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
        np.testing.assert_array_equal(together.masks[index], alone.masks[0])
        np.testing.assert_allclose(together.scores[index], alone.scores[0], atol=1e-5)


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
    "asked, said",
    [
        ({"points": [(60, 10)]}, "outside the image, which is 50 pixels wide and 40 high"),
        ({"points": [(10, 45)]}, "outside the image"),
        ({"points": [(-1, 5)]}, "outside the image"),
        ({"boxes": (10, 10, 51, 20)}, "outside the image"),
        ({"boxes": (30, 10, 20, 20)}, "ends before it begins"),
        ({"boxes": [(1, 1, 5, 5), (6, 6, 9, 9)]}, "prompt_each"),
        ({"points": [(5, 5)], "point_labels": [0]}, "a point on the object"),
        ({"points": [(5, 5)], "point_labels": [2]}, "1 \\(on the object\\) or 0"),
        ({"points": [(5, 5)], "point_labels": [1, 1]}, "1 points, but 2 point labels"),
        ({"points": [(5, float("nan"))]}, "a point is \\(x, y\\) in numbers"),
        ({"points": [5, 6]}, "a point is \\(x, y\\) in numbers"),
        ({}, "needs a point"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_told_in_a_sentence(asked, said):
    predictor = SamPredictor(*tiny_sam())
    with pytest.raises(UserError, match=said):
        predictor.prompt(photo((50, 40)), **asked)


# loading


def save(folder: Path, model, processor) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_every_family_is_loaded_by_its_config(family, tmp_path):
    model, processor = family
    loaded = SamPredictor.from_pretrained(save(tmp_path / "sam", model, processor), device="cpu")
    assert type(loaded.model) is type(model) and type(loaded.processor) is type(processor)
    image = photo((70, 50))
    ours = loaded.prompt(image, points=[(20, 30)])
    np.testing.assert_array_equal(
        ours.masks, SamPredictor(model, processor).prompt(image, points=[(20, 30)]).masks
    )


def test_of_a_checkpoint_for_videos_the_image_model_is_taken(tmp_path):
    video, processor = tiny_sam2_video()
    loaded = SamPredictor.from_pretrained(save(tmp_path / "sam", video, processor), device="cpu")
    assert type(loaded.model) is Sam2Model
    theirs = video.state_dict()
    for name, weights in loaded.model.state_dict().items():
        assert torch.equal(weights, theirs[name]), name
    assert len(loaded.prompt(photo((70, 50)), points=[(20, 30)])) == 1


def test_what_is_no_sam_is_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="no model of the SAM family but segformer"):
        SegformerConfig().save_pretrained(tmp_path / "other")
        SamPredictor.from_pretrained(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no model"):
        SamPredictor.from_pretrained(tmp_path / "empty")
    with pytest.raises(UserError, match=r"no folder facebook/sam2.*, and from the Hugging"):
        SamPredictor.from_pretrained("facebook/sam2.1-hiera-tiny")
    with pytest.raises(UserError, match="choose from fp32"):
        SamPredictor.from_pretrained("facebook/sam2.1-hiera-tiny", dtype="int3")


def test_damaged_or_missing_weights_are_told_in_a_sentence(tmp_path):
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


def test_random_weights_are_known_from_one_training_step_on(family):
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
def test_a_point_lies_on_its_class_and_regions_part_the_image(mask):
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


def test_a_mask_takes_the_class_that_most_of_it_is_predicted_as():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:12, 4:14] = 1
    voted = refine_by_votes(rectangles((5, 3, 16, 12), (0, 13, 30, 20)), mask)
    expected = mask.copy()
    expected[3:12, 5:16] = 1
    np.testing.assert_array_equal(voted, expected)


def test_of_overlapping_masks_the_smaller_lies_on_top():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:, 15:] = 1
    mask[5:10, 20:25] = 2
    for order in ((0, 1), (1, 0)):
        boxes = [(15, 0, 30, 20), (19, 5, 25, 10)]
        voted = refine_by_votes(rectangles(*(boxes[index] for index in order)), mask)
        assert (voted[5:10, 19:25] == 2).all() and (voted == 2).sum() == 30


def test_an_answer_moves_the_outline_both_ways():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:14, 4:14] = 1
    asked = regions(mask, 4)
    assert [region.class_id for region in asked] == [0, 1]
    answers = rectangles((0, 0, 1, 1), (6, 4, 16, 14))  # the ground isn't found, the wall is
    expected = np.zeros_like(mask)
    expected[4:14, 6:16] = 1
    np.testing.assert_array_equal(outlined(asked, answers, mask), expected)


def test_an_answer_about_something_else_changes_nothing():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:14, 4:14] = 1
    answers = rectangles((0, 0, 1, 1), (9, 4, 19, 14))  # a third in common
    np.testing.assert_array_equal(outlined(regions(mask, 4), answers, mask), mask)


def test_what_no_answer_claims_stays_with_the_model():
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:, 15:] = 1
    answers = rectangles((0, 0, 13, 20), (17, 0, 30, 20))  # a gap of four columns between them
    np.testing.assert_array_equal(outlined(regions(mask, 4), answers, mask), mask)


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


def test_a_class_that_comes_back_takes_no_other_away():
    mask = np.array([[0, 0, 1, 0, 0, 1, 0, 0, 1, 2, 2]], dtype=np.uint8)
    masks = np.zeros((4, 1, 11), dtype=bool)
    masks[0, 0, [2, 5, 8, 9, 10]] = True  # names the last two 1
    for number, start in enumerate((0, 3, 6), start=1):
        masks[number, 0, start : start + 3] = True  # and these, on top, leave no other 1
    voted = refine_by_votes(SamMasks(masks, np.ones(4, dtype=np.float32)), mask)
    np.testing.assert_array_equal(voted, mask)


def test_the_oracle_names_masks_by_the_truth_and_the_rest_as_one():
    truth = np.zeros((20, 30), dtype=np.uint8)
    truth[:, 15:] = 1
    truth[5:15, 2:10] = 2
    truth[:5] = 255
    found = oracle(rectangles((2, 5, 11, 15), (0, 0, 30, 5)), truth)
    expected = np.ones_like(truth)  # of the rest, 300 of 300 + 220 - ... pixels are wall
    expected[5:15, 2:11] = 2
    np.testing.assert_array_equal(found, expected)


def test_of_a_truth_without_labels_the_oracle_knows_nothing():
    truth = np.full((20, 30), 255, dtype=np.uint8)
    assert (oracle(rectangles((2, 5, 11, 15)), truth) == 255).all()


def test_real_answers_of_a_sam_keep_the_classes():
    mask = np.zeros((80, 120), dtype=np.uint8)
    mask[10:50, 20:60] = 1
    mask[40:70, 70:110] = 2
    predictor = SamPredictor(*tiny_sam2())
    for kind in ("boxes", "points", "both"):
        refined = refine_by_prompts(predictor, photo((120, 80)), mask, LABELS, kind)
        assert refined.shape == mask.shape and set(np.unique(refined)) == {0, 1, 2}


assert SIDE == 64  # the sizes above are larger and smaller than what the networks see
