"""The demo's tab "By name": SAM 3 beside the model."""

from pathlib import Path

import numpy as np
import pytest
from demo_server import draw_photo, tiny_segmenter
from PIL import Image
from tiny_sam3 import tiny_sam3

from demo.naming_api import NamingApi
from demo.shown_models import ShownModels
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam.class_prompter import ClassPrompter

NAMES = ("road", "sky")


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return draw_photo(tmp_path / "photo.png")


def test_sam_3_answers_beside_the_model_by_both_protocols(photo: Path) -> None:
    sam3 = tiny_sam3()
    models = ShownModels({"first": tiny_segmenter()}, sam3=sam3)
    *steps, answer = NamingApi(models).by_name({"path": str(photo)}, ["road", " sky", "road"])
    assert all(step["doing"] for step in steps)
    titles = [figure["title"] for figure in answer["figures"]]
    assert titles == ["The model", "SAM 3, instances", "SAM 3, semantic"]
    expected = ClassPrompter(*sam3, LabelSet(NAMES)).segment(Image.open(photo).convert("RGB"))
    for figure, ids in zip(
        answer["figures"][1:], [expected.instances, expected.semantic], strict=True
    ):
        assert figure["names"] == list(NAMES)
        found = np.array(Image.open(figure["ids"]))
        np.testing.assert_array_equal(np.where(found == 255, len(NAMES), found), ids)


@pytest.mark.parametrize("names", [[], ["road", ""], [1], ["a" * 61], list(map(str, range(31)))])
def test_what_is_no_list_of_names_is_refused(names: list, photo: Path) -> None:
    models = ShownModels({"first": tiny_segmenter()}, sam3=tiny_sam3())
    with pytest.raises(UserError, match="Give "):
        next(NamingApi(models).by_name({"path": str(photo)}, names))


def test_without_sam_3_the_remedy_is_named() -> None:
    models = ShownModels({"first": tiny_segmenter()})
    assert not models.has_sam3
    with pytest.raises(UserError, match="add --sam3 facebook/sam3"):
        models.sam3()
