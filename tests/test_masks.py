"""Masks stored as ids, palettes or colors become the ids they mean."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hfseg import load_dataset
from hfseg.data.masks import MaskDecoder
from hfseg.data.readers import reader
from hfseg.errors import UserError
from hfseg.labels import LabelSet

GRAY, RED, BLACK, BLUE = (140, 140, 140), (200, 0, 0), (0, 0, 0), (0, 0, 200)
IDS = np.repeat(np.array([[0, 1, 2, 255]], np.uint8), 4, axis=0)


def indexed(ids: np.ndarray, palette: list[tuple[int, int, int]]) -> Image.Image:
    mask = Image.fromarray(ids)
    mask.putpalette([channel for color in palette for channel in color])
    return mask


def decoded(labels: LabelSet, *masks: Image.Image) -> list[list[int]]:
    """The first row of each mask, decoded as masks of one dataset."""
    decoder = MaskDecoder.for_labels(labels).sniff(masks)
    return [decoder(mask)[0].tolist() for mask in masks]


@pytest.mark.parametrize("name", ["ade20k", "camseq", "camvid", "cityscapes", "pets", "voc"])
def test_built_in_datasets_give_every_class_a_color_of_its_own(name: str) -> None:
    labels, _ = reader(name).labels()
    assert len(set(labels.palette)) == len(labels)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([GRAY, RED, BLACK, BLUE]), min_size=3, max_size=4))
def test_a_mask_that_we_wrote_reads_back_as_the_same_ids(palette: list) -> None:
    """Also where two classes share a color, or one has the black that 255 is drawn in."""
    labels = LabelSet(tuple("abcd"[: len(palette)]), tuple(palette))
    mask = indexed(IDS, labels.color_table().tolist())
    assert decoded(labels, mask) == [[0, 1, 2, 255]]


def test_palettes_that_a_program_reordered_are_read_by_color() -> None:
    labels = LabelSet(("a", "b", "c"), (GRAY, RED, BLUE))
    in_order = indexed(IDS[:, :3], [GRAY, RED, BLUE])
    reordered = indexed(IDS[:, :3], [BLUE, GRAY, RED])
    assert decoded(labels, in_order, reordered) == [[0, 1, 2], [2, 0, 1]]


def test_a_dataset_is_read_by_color_or_by_index_and_never_both() -> None:
    labels = LabelSet(("a", "b", "c"), (GRAY, RED, BLUE))
    unrelated = indexed(IDS[:, :3], [(1, 1, 1), (2, 2, 2), (3, 3, 3)])
    by_chance = indexed(np.zeros((4, 3), np.uint8), [BLUE])
    assert decoded(labels, unrelated, by_chance) == [[0, 1, 2], [0, 0, 0]]


def test_an_unknown_color_in_a_palette_is_an_error_where_colors_are_meant() -> None:
    labels = LabelSet(("a", "b", "c"), (GRAY, RED, BLUE))
    decoder = MaskDecoder.for_labels(labels).sniff([indexed(IDS[:, :3], [BLUE, GRAY, RED])])
    with pytest.raises(UserError, match=r"\(7, 7, 7\)"):
        decoder(indexed(IDS[:, :3], [GRAY, RED, (7, 7, 7)]), "x.png")


def test_color_masks_of_classes_that_share_a_color_are_refused(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for index in range(3):
            colors = np.array([GRAY, RED], np.uint8)[IDS % 2]
            Image.fromarray(colors).save(tmp_path / kind / f"{index}.png")
    LabelSet(("road", "skyscraper", "car"), (GRAY, GRAY, RED)).save(tmp_path / "labels.json")
    with pytest.raises(UserError, match="a color for each class"):
        load_dataset("folder", str(tmp_path))
