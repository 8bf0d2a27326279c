"""The demo's tab "By name": SAM 3 beside the model."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from demo_browser import open_tab, opened, segment
from demo_server import draw_photo, needs_browser, served, tiny_segmenter
from PIL import Image
from tiny_sam3 import tiny_sam3

from demo.shown_models import ShownModels
from demo.tabs.by_name import ByName
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam.class_prompter import ClassPrompter

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("road", "sky")


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return draw_photo(tmp_path / "photo.png")


def test_sam_3_answers_beside_the_model_by_both_protocols(photo: Path) -> None:
    sam3 = tiny_sam3()
    models = ShownModels({"first": tiny_segmenter()}, sam3=sam3)
    *steps, answer = ByName(models).by_name({"path": str(photo)}, ["road", " sky", "road"])
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
        next(ByName(models).by_name({"path": str(photo)}, names))


def test_without_sam_3_the_remedy_is_named() -> None:
    models = ShownModels({"first": tiny_segmenter()})
    assert not models.has_sam3
    with pytest.raises(UserError, match="restart it with --sam3 facebook/sam3"):
        models.sam3()


@needs_browser
def test_the_tab_shows_what_sam_3_finds_and_names_what_it_does_not(
    browser: "Browser", photo: Path, tmp_path: Path
) -> None:
    models = ShownModels({"first": tiny_segmenter()}, sam3=tiny_sam3())
    with served(models, tmp_path / "page") as address:
        page = opened(browser, address)
        segment(page, photo)
        open_tab(page, "By name")
        assert set(page.input_value("[data-is=names]").split(", ")) <= set(models.labels("").names)
        page.fill("[data-is=names]", ", ".join(NAMES))
        page.get_by_role("button", name="Find them").click()
        page.wait_for_selector("[data-is=name-panes] .pane:nth-child(3)[data-painted]")
        titles = ["The model", "SAM 3, instances", "SAM 3, semantic"]
        assert page.locator("[data-is=name-panes] strong").all_inner_texts() == titles
        assert page.locator("[data-is=name-list] .columns span").all_inner_texts() == titles
        listed = page.locator("[data-is=name-list] li").all_inner_texts()
        found = {row.split("\n")[0] for row in listed if not row.endswith("–\n–")}
        missing = page.inner_text("[data-is=not-found]")
        assert {name for name in NAMES if name not in missing} == found & set(NAMES)
        page.close()
    assert not page.problems
