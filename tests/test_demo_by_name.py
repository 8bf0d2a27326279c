"""The demo's tab "By name": SAM 3 beside the model."""

from pathlib import Path

import numpy as np
import pytest
from demo_server import (
    CHROMIUM,
    CHROMIUM_ARGS,
    draw_photo,
    needs_browser,
    served,
    tiny_segmenter,
)
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


@needs_browser
def test_the_tab_shows_what_sam_3_finds(photo: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    models = ShownModels({"first": tiny_segmenter()}, sam3=tiny_sam3())
    problems: list[str] = []
    with served(models, tmp_path / "page") as address, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS).new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#hfseg[data-ready]")
        page.set_input_files("[data-is=file]", photo)
        page.wait_for_selector("[data-is=segment] .pane[data-painted]")
        page.get_by_role("tab", name="By name").click()
        assert set(page.input_value("[data-is=names]").split(", ")) <= set(models.labels("").names)
        page.fill("[data-is=names]", "road, sky")
        page.get_by_role("button", name="Find them").click()
        page.wait_for_selector("[data-is=name-panes] .pane:nth-child(3)[data-painted]")
        titles = page.locator("[data-is=name-panes] strong").all_inner_texts()
    assert titles == ["The model", "SAM 3, instances", "SAM 3, semantic"] and not problems
