"""toyscapes: the same scenes on every machine, each its own, and worth learning."""

import hashlib

import numpy as np
import pytest

from hfseg.data.toyscapes import HEIGHT, LABELS, SPLITS, WIDTH, draw_scene
from hfseg.errors import UserError

PINNED = {
    "train": "4972f6c2140b97bde82fed9de884df0f000bbda4b0929fe564e1b32f97896a84",
    "validation": "48efc8517e66f6a6e2f9f8acaf89920934065769acb8a5c89dd71209b7d1ca0e",
    "test": "ca6c2a6aaa716eab1308946b1295bd6f875826b3c392e954c13e7b50c00c3299",
}
"""sha256 of the images and masks of scenes 0 to 3. A new value means a new dataset: say so."""


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """All of validation, and the first 40 scenes of the others."""
    numbers = {"train": 40, "validation": SPLITS["validation"], "test": 40}
    return {split: [draw_scene(split, i) for i in range(n)] for split, n in numbers.items()}


def count_pixels(masks: list[np.ndarray]) -> np.ndarray:
    return np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=256)


def test_a_scene_is_a_pure_function_of_split_and_index(scenes):
    for split in SPLITS:
        for drawn, again in zip(scenes[split][7], draw_scene(split, 7), strict=True):
            np.testing.assert_array_equal(drawn, again)


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_have_the_pinned_pixels(split, scenes):
    digest = hashlib.sha256()
    for image, mask in scenes[split][:4]:
        digest.update(image.tobytes())
        digest.update(mask.tobytes())
    assert digest.hexdigest() == PINNED[split]


def test_no_two_scenes_are_alike_within_or_across_splits(scenes):
    every = [scene for split in SPLITS for scene in scenes[split]]
    assert len({image.tobytes() for image, _ in every}) == len(every)
    assert len({mask.tobytes() for _, mask in every}) == len(every)


def test_images_and_masks_have_the_promised_shape_and_type(scenes):
    for image, mask in scenes["validation"]:
        assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
        assert mask.shape == (HEIGHT, WIDTH) and mask.dtype == np.uint8


def test_masks_contain_only_classes_and_the_ignored_id(scenes):
    allowed = [*range(len(LABELS)), LABELS.ignore_index]
    for split in SPLITS:
        found = np.flatnonzero(count_pixels([mask for _, mask in scenes[split]]))
        assert found.tolist() == allowed


@pytest.mark.parametrize("split", SPLITS)
def test_every_class_has_a_plausible_fraction_of_every_split(split, scenes):
    counts = count_pixels([mask for _, mask in scenes[split]])[: len(LABELS)]
    share = dict(zip(LABELS.names, counts / counts.sum(), strict=True))
    assert min(share.values()) > 0.008, share
    assert max(share.values()) < 0.40, share
    for number, name in enumerate(LABELS.names):
        seen = [(mask == number).any() for _, mask in scenes[split]]
        assert sum(seen) > len(seen) / 2, name


@pytest.mark.parametrize("split", SPLITS)
def test_a_little_of_every_split_is_ignored(split, scenes):
    counts = count_pixels([mask for _, mask in scenes[split]])
    assert 0.01 < counts[LABELS.ignore_index] / counts.sum() < 0.08


def test_one_class_everywhere_scores_under_012(scenes):
    counts = count_pixels([mask for _, mask in scenes["validation"]])[: len(LABELS)]
    # a constant prediction has an IoU of its share for its class, and of 0 for the others
    assert (counts / counts.sum()).max() / len(LABELS) < 0.12


def test_color_alone_does_not_reveal_the_class(scenes):
    """The best guess from a pixel's color (8 x 8 x 8 bins, learned on train) scores under 0.40."""
    table = np.zeros((512, 256), int)
    for image, mask in scenes["train"]:
        np.add.at(table, (color_bins(image), mask.ravel()), 1)
    guess = table[:, : len(LABELS)].argmax(1)
    confusion = np.zeros((256, 256), int)
    for image, mask in scenes["validation"]:
        np.add.at(confusion, (mask.ravel(), guess[color_bins(image)]), 1)
    confusion = confusion[: len(LABELS), : len(LABELS)]
    hits = confusion.diagonal()
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    assert iou.mean() < 0.40, iou


def color_bins(image: np.ndarray) -> np.ndarray:
    red, green, blue = (image.reshape(-1, 3) >> 5).astype(int).T
    return red * 64 + green * 8 + blue


def test_people_and_poles_are_wide_enough_to_be_learned(scenes):
    for number in (LABELS.label2id["person"], LABELS.label2id["pole"]):
        hits = [mask == number for _, mask in scenes["validation"]]
        inner = sum((hit[:, 1:-1] & hit[:, :-2] & hit[:, 2:]).sum() for hit in hits)
        # in a strip w pixels wide, w - 2 have a neighbour of their class on both sides
        assert inner / sum(hit.sum() for hit in hits) > 0.3


@pytest.mark.parametrize("split, index", [("train", 400), ("validation", 80), ("test", -1)])
def test_an_index_outside_the_split_is_rejected(split, index):
    with pytest.raises(UserError, match=f"no scene {index} in '{split}'"):
        draw_scene(split, index)


def test_an_unknown_split_is_rejected_with_the_names_of_the_splits():
    with pytest.raises(UserError, match=r"'val'; choose from train, validation, test"):
        draw_scene("val", 0)
