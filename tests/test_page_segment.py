"""One photo for all tabs, and the picture as the interface: divider, label, zoom, maps."""

import io

import numpy as np
import pytest
from demo_browser import (
    CORRECT,
    SEGMENT,
    colors,
    download,
    give,
    open_tab,
    opened,
    outline,
    place,
    segment,
)
from demo_server import draw_photo, needs_browser, tiny_segmenter
from PIL import Image
from tolerance import assert_same_mask

from demo.app import describe
from demo.examples import example_photos
from demo.shown_models import ShownModels


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


# 1: one image for the whole page


@needs_browser
def test_a_photo_is_segmented_as_soon_as_it_is_there_and_serves_every_tab(page, photo, models):
    assert page.locator("[data-is=file]").count() == 1
    segment(page, photo)
    found = models.segmenters["first"](photo)
    assert page.locator(f"{SEGMENT} figcaption strong").inner_text() == "first"
    ids = Image.open(io.BytesIO(download(page, "Save mask")))
    assert_same_mask(ids, found.mask)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")


@needs_browser
@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_may_be_dropped_or_pasted_anywhere_on_the_page(page, photo, way):
    give(page, [photo], way)
    page.wait_for_selector(f"{SEGMENT} .pane[data-painted]")


@needs_browser
def test_an_example_works_in_every_tab(page):
    page.locator(".example").first.click()
    page.wait_for_selector(f"{SEGMENT} .pane[data-painted]")
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    open_tab(page, "Evaluate")
    page.wait_for_selector("[data-is=evaluate] .pane:nth-child(3)[data-painted]")


def test_a_model_of_drawn_scenes_says_so_and_a_folder_brings_its_own_examples(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "page"))
    assert "drawn street scenes" in describe(ShownModels({"toys": tiny_segmenter()}))
    (tmp_path / "model" / "examples").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "model" / "examples" / "a cat.jpg")
    Image.new("L", (8, 8)).save(tmp_path / "model" / "examples" / "a cat_mask.png")
    pets = tiny_segmenter(("cat", "dog"))
    models = ShownModels({"pets": pets}, cards={"pets": str(tmp_path / "model")})
    found = example_photos(models)
    assert [each["name"] for each in found] == ["a cat"] and found[0]["truth"]
    assert "drawn" not in describe(models)
    assert example_photos(ShownModels({"pets": pets})) == []


# 2: the picture is the interface


@needs_browser
def test_the_divider_is_dragged_on_the_picture(page, photo):
    segment(page, photo)
    left, middle = place(page, 0.0, 0.5)
    page.mouse.move(left + 2, middle)
    page.mouse.down()
    page.mouse.move(*place(page, 0.4, 0.5), steps=4)
    page.mouse.up()
    clip = page.evaluate("getComputedStyle(document.querySelector('.world canvas')).clipPath")
    assert float(clip.split()[-1].rstrip("%)")) == pytest.approx(40, abs=1.5)
    page.focus(".divider")
    page.keyboard.press("Shift+ArrowRight")
    assert int(page.get_attribute(".divider", "aria-valuenow")) == pytest.approx(50, abs=2)


@needs_browser
def test_a_label_beside_the_pointer_names_class_and_confidence(page, photo, models):
    segment(page, photo)
    found = models.segmenters["first"](photo, return_confidence=True)
    height, width = found.mask.shape
    for x, y in ((0.2, 0.3), (0.7, 0.8)):
        page.mouse.move(*place(page, x, y))
        column, row = int(x * width), int(y * height)
        around = found.mask[row - 1 : row + 2, column - 1 : column + 2]
        said = page.inner_text(f"{SEGMENT} .tag").rsplit(" ", 2)
        assert said[0] in {found.labels.names[index] for index in np.unique(around)}
        assert said[2] == "%" and 0 < int(said[1]) <= 100
    page.focus(f"{SEGMENT} .stage")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    spoken = page.inner_text(f"{SEGMENT} .pane .unseen")
    assert spoken.rsplit(" ", 2)[0] in found.labels.names


@needs_browser
def test_a_class_is_isolated_on_hover_and_switched_by_a_click(page, photo, models):
    segment(page, photo)
    found = models.segmenters["first"](photo)
    buttons = page.locator(f"{SEGMENT} .classes button")
    name = buttons.first.locator(".name").inner_text()
    mine = found.mask == found.labels.names.index(name)
    stage = page.locator(f"{SEGMENT} .stage")
    page.mouse.move(0, 0)
    before = stage.screenshot()
    buttons.first.hover()
    painted = colors(page)[..., 3] > 0
    assert painted[mine].all() and not painted[~mine & ~outline(found.mask)].any()
    assert stage.screenshot() != before
    page.mouse.move(0, 0)
    assert stage.screenshot() == before
    buttons.first.click()
    page.mouse.move(0, 0)
    assert buttons.first.get_attribute("aria-pressed") == "false"
    painted = colors(page)[..., 3] > 0
    assert not painted[mine].all() and painted[~mine].all()


@needs_browser
def test_full_screen_keeps_the_picture_the_classes_and_the_opacity(page, photo):
    segment(page, photo)
    page.get_by_role("button", name="Full screen").first.click()
    page.wait_for_function("document.fullscreenElement !== null")
    for name in (".stage", ".classes", "[data-is=opacity]"):
        assert page.locator(f"#hfseg :fullscreen {name}").first.is_visible()
    page.get_by_role("button", name="Full screen").first.click()
    page.wait_for_function("document.fullscreenElement === null")
    assert page.locator("[data-is=opacity]").is_visible()


@needs_browser
def test_the_wheel_zooms_at_the_pointer_and_all_panes_move_together(page, photo):
    page.get_by_role("checkbox", name="second").check()
    segment(page, photo, panes=2)
    spot = place(page, 0.25, 0.25)
    page.mouse.move(*spot)
    page.mouse.wheel(0, -300)
    page.wait_for_function("document.querySelector('.stage').classList.contains('zoomed')")
    now = place(page, 0.25, 0.25)
    assert now == pytest.approx(spot, abs=2)
    widths = [box.bounding_box()["width"] for box in page.locator(f"{SEGMENT} .world").all()]
    assert widths[0] == pytest.approx(widths[1]) and len(widths) == 2
    page.get_by_role("button", name="Entire image").first.click()
    assert "zoomed" not in page.get_attribute(f"{SEGMENT} .stage", "class")


@needs_browser
def test_a_strip_of_20_by_6000_pixels_fits_the_window(page, tmp_path):
    segment(page, draw_photo(tmp_path / "strip.png", (20, 6000)))
    assert page.locator(f"{SEGMENT} .stage").bounding_box()["height"] <= 900
    assert "Scaled from 20 × 6000 to 5 × 1536" in page.inner_text(f"{SEGMENT} [data-is=note]")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_picture_comes_first_and_two_fingers_zoom(browser, demo_page, photo, scheme):
    page = opened(
        browser, demo_page.address, viewport={"width": 390, "height": 844}, has_touch=True,
        color_scheme=scheme,
    )  # fmt: skip
    segment(page, photo)
    picture = page.locator(f"{SEGMENT} .stage").bounding_box()
    assert picture["y"] < page.locator(f"{SEGMENT} .classes").bounding_box()["y"]
    assert 0 <= picture["y"] < 844 / 3 and picture["y"] + picture["height"] <= 844
    session = page.context.new_cdp_session(page)
    center = [picture["x"] + picture["width"] / 2, picture["y"] + picture["height"] / 2]

    def touch(kind: str, apart: float) -> None:
        points = [{"x": center[0] + side * apart, "y": center[1]} for side in (-1, 1)]
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [] if kind == "touchEnd" else points},
        )

    touch("touchStart", 30)
    for apart in (40, 60, 90):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert page.locator(f"{SEGMENT} .world").bounding_box()["width"] > 1.5 * picture["width"]
    for name in ("Correct", "Evaluate", "Batch", "About", "Segment"):
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in background.strip("rgba()").split(",")[:3]]
    assert (sum(channels) < 200) == (scheme == "dark")
    page.close()
    assert not page.problems
