"""A model that is always right stays right: whole, in tiles, under views, behind any processor."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from perfect_models import (
    PerfectForSemanticSegmentation,
    PerfectForUniversalSegmentation,
    agreement,
    scene,
    semantic_processors,
    universal_processors,
)

from hfseg.inference import Segmenter
from hfseg.models.universal import act_as_semantic

SEMANTIC = semantic_processors()
with TemporaryDirectory() as _folder:
    UNIVERSAL = universal_processors(Path(_folder))

sides = st.integers(40, 150)


@st.composite
def scenes(draw) -> tuple[int, int, int, int]:
    """(height, width, row, column): a scene, and where its rectangles meet."""
    height, width = draw(sides), draw(sides)
    return height, width, draw(st.integers(0, height)), draw(st.integers(0, width))


def segmenter(family: str) -> Segmenter:
    if family in SEMANTIC:
        processor = SEMANTIC[family]
        return Segmenter(PerfectForSemanticSegmentation(processor, family.split()[0]), processor)
    processor = UNIVERSAL[family]
    model = PerfectForUniversalSegmentation(processor, family.split()[0])
    act_as_semantic(model)
    return Segmenter(model, processor)


def check(family: str, place: tuple[int, int, int, int], **options) -> None:
    height, width, row, column = place
    image, truth = scene(height, width, row, column)
    mask = segmenter(family)(image, **options).mask
    margin = 2 + 2 * max(height, width) / 40  # two pixels of the smallest size a processor makes
    assert mask.shape == truth.shape
    assert agreement(mask, truth, row, column, margin) == 1


@pytest.mark.parametrize("family", SEMANTIC)
@settings(max_examples=15, deadline=None)
@given(scenes(), st.sampled_from([None, "flip", "flip,0.75,1.0,1.5"]))
def test_semantic_models_are_right_under_every_view(family: str, place, tta) -> None:
    check(family, place, tta=tta)


@pytest.mark.parametrize("family", UNIVERSAL)
@settings(max_examples=15, deadline=None)
@given(scenes(), st.sampled_from([None, "flip"]))
@example((60, 150, 60, 40), "flip")  # cut into crops whose places are not symmetric
def test_universal_models_are_right_under_every_view(family: str, place, tta) -> None:
    check(family, place, tta=tta)


@pytest.mark.parametrize("family", [*SEMANTIC, *UNIVERSAL])
@settings(max_examples=8, deadline=None)
@given(scenes(), st.integers(24, 96), st.integers(24, 96), st.sampled_from([None, "flip"]))
def test_every_model_is_right_in_tiles(family: str, place, height, width, tta) -> None:
    check(family, place, sliding_window=(height, width), tta=tta)


@pytest.mark.parametrize("family", ["segformer", "dpt padded", "eomt"])
def test_a_batch_is_as_right_as_its_images(family: str) -> None:
    places = [(48, 64, 20, 30), (64, 48, 10, 40), (48, 64, 40, 8)]
    images, truths = zip(*(scene(*place) for place in places), strict=True)
    results = segmenter(family)(list(images), batch_size=3)
    for place, truth, result in zip(places, truths, results, strict=True):
        assert agreement(result.mask, truth, *place[2:], margin=5) == 1
        assert np.asarray(result.image).shape[:2] == truth.shape
