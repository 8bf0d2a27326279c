"""The demo page, used in a real browser as a visitor would: mouse, keyboard and touch."""

import csv
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from demo_server import (
    CHROMIUM,
    CHROMIUM_ARGS,
    DEMO,
    draw_photo,
    needs_browser,
    served,
    tiny_models,
)
from PIL import Image
from tolerance import assert_same_mask

from hfseg.data.toyscapes import draw_scene

SEGMENT = "[data-is=segment]"
CORRECT = "[data-is=correct]"


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = [*CHROMIUM_ARGS, "--use-fake-ui-for-media-stream",
                     "--use-fake-device-for-media-stream"]  # fmt: skip
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def opened(browser, address, **options):
    """A page; `page.problems` lists console errors and requests to other hosts."""
    viewport = {"width": 1400, "height": 900}
    page = browser.new_page(**{"viewport": viewport, "reduced_motion": "reduce", **options})
    page.problems = []
    page.on("console", lambda m: m.type == "error" and page.problems.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: page.problems.append(f"page: {error}"))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:", "blob:"))
            or page.problems.append(f"foreign request: {request.url}")
        ),
    )
    page.goto(address)
    page.wait_for_selector("#hfseg[data-ready]")
    return page


@pytest.fixture
def page(browser, demo_page):
    page = opened(browser, demo_page.address)
    yield page
    page.close()
    assert not page.problems


@pytest.fixture
def photo(tmp_path) -> Path:
    """A real photo where there are any, else a drawn one."""
    voc = Path(os.environ.get("HFSEG_REAL_DATA", "none"), "VOCdevkit", "VOC2012", "JPEGImages")
    photos = sorted(voc.glob("*.jpg"))
    if photos:
        Image.open(photos[0]).save(tmp_path / "my street.png")
        return tmp_path / "my street.png"
    return draw_photo(tmp_path / "my street.png", (300, 200))


def choose(page, path: Path) -> None:
    page.set_input_files("[data-is=file]", path)


def segment(page, path: Path, panes: int = 1) -> None:
    choose(page, path)
    page.wait_for_selector(f"{SEGMENT} .pane:nth-child({panes})[data-painted]")


def open_tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def colors(page, pane: str = f"{SEGMENT} .pane") -> np.ndarray:
    """(H, W, 4) pixels of what is painted over a photo."""
    values = page.evaluate(
        """selector => { const canvas = document.querySelector(selector);
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.height, canvas.width, Array.from(data.data)]; }""",
        f"{pane} canvas",
    )
    return np.array(values[2], dtype=np.uint8).reshape(values[0], values[1], 4)


def place(page, x: float, y: float, tab: str = SEGMENT) -> tuple[float, float]:
    """The spot on the screen of a place of the picture, given as fractions."""
    box = page.locator(f"{tab} .world").first.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def download(page, button: str) -> bytes:
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    return Path(found.value.path()).read_bytes()


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
    from demo_server import tiny_segmenter

    from demo.app import describe
    from demo.examples import example_photos
    from demo.shown_models import ShownModels

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
    buttons.first.hover()
    painted = colors(page)[..., 3] > 0
    assert painted[mine].all() and painted[~mine].mean() < 0.5
    buttons.first.click()
    page.mouse.move(0, 0)
    assert buttons.first.get_attribute("aria-pressed") == "false"
    painted = colors(page)[..., 3] > 0
    assert not painted[mine].all() and painted[~mine].all()


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
    page.get_by_role("button", name="Whole picture").first.click()
    assert "zoomed" not in page.get_attribute(f"{SEGMENT} .stage", "class")


@needs_browser
def test_a_strip_of_200_by_6000_pixels_fits_the_window(page, tmp_path):
    segment(page, draw_photo(tmp_path / "strip.png", (200, 6000)))
    assert page.locator(f"{SEGMENT} .stage").bounding_box()["height"] <= 900
    assert "Scaled from 200 × 6000" in page.inner_text(f"{SEGMENT} [data-is=note]")


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
    assert picture["y"] >= 0 and picture["y"] + picture["height"] <= 844
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


# 3: the same class has the same color


def test_a_class_has_one_color_in_all_models_and_no_two_look_alike():
    from demo.colors import shared_colors
    from hfseg.labels import LabelSet

    one = LabelSet(("sky", "road"), ((0, 0, 200), (90, 90, 90)))
    two = LabelSet(("road", "tree", "car"), ((1, 1, 1), (92, 90, 90), (0, 0, 205)))
    shown = shared_colors([one, two])
    assert shown[0].palette == one.palette
    assert shown[1].palette[0] == (90, 90, 90)
    every = {color for labels in shown for color in labels.palette}
    assert len(every) == 4
    for color in every:
        for other in every - {color}:
            assert np.abs(np.subtract(color, other)).max() > 20


# 4: nothing stale


@needs_browser
def test_another_photo_or_model_leaves_no_result_of_the_last_one(page, photo, tmp_path):
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.mouse.click(*place(page, 0.5, 0.5, CORRECT))
    page.wait_for_selector(f"{CORRECT} .point")
    choose(page, draw_photo(tmp_path / "other.png", (120, 80)))
    page.wait_for_selector(f"{CORRECT} canvas[width='120']")
    assert page.locator(".point").count() == 0
    open_tab(page, "Segment")
    page.wait_for_selector(f"{SEGMENT} canvas[width='120']")
    page.get_by_role("checkbox", name="second").check()
    page.get_by_role("checkbox", name="first").uncheck()
    page.wait_for_selector(f"{SEGMENT} .pane[data-painted] >> text=second")
    assert page.locator(f"{SEGMENT} .pane").count() == 1


@needs_browser
def test_stop_ends_the_waiting_and_the_page_goes_on(page, photo, models, monkeypatch):
    import time

    segment_really = models.segment

    def slowly(*args, **options):
        time.sleep(1.5)
        return segment_really(*args, **options)

    monkeypatch.setattr(models, "segment", slowly)
    choose(page, photo)
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("[data-is=doing]", state="hidden")
    assert page.locator(f"{SEGMENT} .pane").count() == 0
    monkeypatch.undo()
    segment(page, photo)


# 5: compare models


@needs_browser
def test_two_models_are_compared_by_a_map_and_a_share_of_pixels(page, photo, models):
    page.get_by_role("checkbox", name="second").check()
    segment(page, photo, panes=2)
    page.get_by_role("button", name="Where they differ").click()
    one, two = (models.segmenters[name](photo).mask for name in ("first", "second"))
    assert f"differ at {100 * np.mean(one != two):.1f} %" in page.inner_text("[data-is=map-says]")
    np.testing.assert_array_equal(colors(page)[..., 3] > 0, one != two)


@needs_browser
def test_uncertainty_is_a_map_and_augmentation_says_what_it_costs(page, photo, models):
    segment(page, photo)
    page.get_by_role("button", name="Uncertainty").click()
    confidence = models.segmenters["first"](photo, return_confidence=True).confidence
    shown = colors(page)[..., 3].astype(int)
    assert np.abs(shown - (255 - np.rint(255 * confidence))).max() <= 1
    page.get_by_label("Test-time augmentation").check()
    page.wait_for_function(
        "document.querySelector('[data-is=tta-time]').textContent.includes('s)')"
    )
    page.get_by_label("Test-time augmentation").uncheck()
    page.get_by_label("Sliding window").check()
    page.wait_for_function(
        "document.querySelector('[data-is=sliding-time]').textContent.includes('s)')"
    )


# 6: correct with SAM


@needs_browser
def test_quick_clicks_are_all_kept_and_undo_and_redo_go_through_them(page, photo):
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.get_by_label("beside it").check()
    page.mouse.click(*place(page, 0.1, 0.1, CORRECT))  # beside it first
    assert "add a point on the object" in page.inner_text(f"{CORRECT} [data-is=objects]")
    page.get_by_label("on the object").check()
    for index in range(12):
        page.mouse.click(*place(page, 0.2 + 0.05 * index, 0.6, CORRECT))
    assert page.locator(f"{CORRECT} .point").count() == 13
    page.wait_for_function(
        "document.querySelector('[data-is=objects]').textContent.includes('predicted IoU')"
    )
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert page.locator(f"{CORRECT} .point").count() == 10
    page.get_by_role("button", name="Redo").click()
    assert page.locator(f"{CORRECT} .point").count() == 11
    page.get_by_role("button", name="New object").click()
    page.mouse.click(*place(page, 0.8, 0.2, CORRECT))
    assert page.locator(f"{CORRECT} .objects li").count() == 2


def corrected_pairs(page, photo: Path, tmp_path: Path) -> Path:
    """The unpacked download of ten photos, the first of which has an object of class car."""
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.mouse.click(*place(page, 0.5, 0.5, CORRECT))
    page.wait_for_function(
        "document.querySelector('[data-is=objects]').textContent.includes('predicted IoU')"
    )
    page.get_by_label("Class of object 1").select_option("car")
    page.get_by_role("button", name="Add to the list").click()
    for index in range(9):
        choose(page, draw_photo(tmp_path / f"photo {index}.png", (96, 64)))
        page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
        page.get_by_role("button", name="Add to the list").click()
        page.wait_for_function(
            "n => document.querySelector('[data-is=save-pairs]').textContent.includes(n)",
            arg=f"Save {index + 2} pairs",
        )
    content = download(page, "Save 10 pairs as ZIP")
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "pairs")
    return tmp_path / "pairs"


@needs_browser
def test_corrected_photos_download_as_data_that_finetune_reads(page, photo, models, tmp_path):
    from hfseg.data import load_dataset

    corrected_pairs(page, photo, tmp_path)
    data, labels = load_dataset("folder", str(tmp_path / "pairs"))
    assert labels.names == models.segmenters["first"].labels.names
    assert sum(len(split) for split in data.values()) == 10
    mask = np.asarray(Image.open(tmp_path / "pairs" / "masks" / "my street.png"))
    assert (mask == labels.names.index("car")).any()
    assert Image.open(tmp_path / "pairs" / "images" / "my street.png").size == mask.shape[::-1]


@needs_browser
@pytest.mark.slow
def test_finetune_trains_on_what_the_page_gave(page, photo, tmp_path):
    from launch import run_finetune

    pairs = corrected_pairs(page, photo, tmp_path)
    done = run_finetune(
        "--dataset_name", "folder", "--dataset_path", str(pairs), "--from_scratch",
        "--model_name_or_path", "segformer-tiny", "--output_dir", str(tmp_path / "run"),
        "--image_size", "64", "--max_steps", "3", "--mixed_precision", "no",
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1].startswith("eval_mean_iou ")


@needs_browser
def test_everything_of_sam_is_shown_beside_the_model_and_joined_with_it(page, photo):
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.get_by_text("Compare with everything SAM finds").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_selector("[data-is=everything-panes] .pane:nth-child(4)[data-painted]")
    titles = page.locator("[data-is=everything-panes] strong").all_inner_texts()
    assert titles[1] == "SAM, everything: no classes" and len(titles) == 4


@needs_browser
def test_the_page_runs_without_sam_and_says_how_to_add_it(browser, photo, tmp_path):
    with served(tiny_models(), tmp_path / "page") as address:
        page = opened(browser, address)
        segment(page, photo)
        open_tab(page, "Correct")
        assert "--sam facebook/sam2.1-hiera-tiny" in page.inner_text("[data-is=no-sam]")
        page.close()


# 7: evaluate


@needs_browser
def test_errors_lie_over_the_photo_and_the_pointer_tells_both_classes(page, models, tmp_path):
    image, truth = draw_scene("test", 3)
    Image.fromarray(image).save(tmp_path / "scene.png")
    Image.fromarray(truth).save(tmp_path / "truth.png")
    segment(page, tmp_path / "scene.png")
    open_tab(page, "Evaluate")
    page.set_input_files("[data-is=truth]", tmp_path / "truth.png")
    page.wait_for_selector("[data-is=evaluate] .pane:nth-child(3)[data-painted]")
    labels = models.segmenters["first"].labels
    prediction = models.segmenters["first"](tmp_path / "scene.png").mask
    known = truth < len(labels)
    right = (prediction == truth)[known].mean()
    assert f"{100 * right:.1f} %" in page.inner_text("[data-is=scores]")
    wrong = colors(page, "[data-is=evaluate] .pane")[..., 0] > 200
    np.testing.assert_array_equal(wrong, known & (prediction != truth))
    page.mouse.move(*place(page, 0.5, 0.5, "[data-is=evaluate]"))
    said = page.inner_text("[data-is=evaluate] .tag >> nth=0")
    assert said.startswith("predicted ") and ("ground truth" in said or "not scored" in said)


@needs_browser
def test_a_photo_given_as_ground_truth_is_recognized(page, photo):
    segment(page, photo)
    open_tab(page, "Evaluate")
    page.set_input_files("[data-is=truth]", photo)
    problem = page.wait_for_selector("[data-is=problem]:not([hidden])").inner_text()
    assert "looks like a photo" in problem
    segment_again = page.get_by_role("tab", name="Segment")
    segment_again.click()
    choose(page, photo)  # the next thing that is done takes the problem away
    page.wait_for_selector("[data-is=problem]", state="hidden")


def test_a_mask_of_another_size_or_of_unknown_classes_is_one_sentence(models, photo, tmp_path):
    from demo.scoring import ScoringApi
    from hfseg.errors import UserError

    def said(mask: Image.Image) -> str:
        mask.save(tmp_path / "mask.png")
        image, truth = {"path": str(photo)}, {"path": str(tmp_path / "mask.png")}
        with pytest.raises(UserError) as error:
            ScoringApi(models).evaluate(image, truth)
        return str(error.value)

    size = Image.open(photo).size
    assert f"{size[0]} × {size[1]} pixels, but its ground truth 20 × 10" in said(
        Image.new("L", (20, 10))
    )
    assert "value 99" in said(Image.new("L", size, 99))
    assert "No pixel of the mask has a class" in said(Image.new("L", size, 255))


# 8: many images and video


@needs_browser
def test_a_batch_gives_masks_and_areas(page, models, tmp_path):
    paths = [draw_photo(tmp_path / f"{index}.png", (90, 60)) for index in range(3)]
    (tmp_path / "notes.png").write_text("no pixels")
    open_tab(page, "Batch")
    page.set_input_files("[data-is=images]", [*paths, tmp_path / "notes.png"])
    page.wait_for_selector("[data-is=results] table")
    assert "3 of 4 images" in page.inner_text("[data-is=results] h3")
    assert "notes: This file cannot be read" in page.inner_text("[data-is=results] .failed")
    archive = zipfile.ZipFile(io.BytesIO(download(page, "Save masks and areas as ZIP")))
    found = models.segmenters["first"](paths[1])
    with archive.open("masks/1.png") as file:
        assert_same_mask(Image.open(file), found.mask)
    rows = list(csv.DictReader(io.StringIO(archive.read("areas.csv").decode())))
    assert [row["image"] for row in rows] == ["0", "1", "2"]
    name = found.labels.names[0]
    assert float(rows[1][name]) == pytest.approx(np.mean(found.mask == 0), abs=1e-6)


@needs_browser
def test_a_video_is_segmented_frame_by_frame(page, tmp_path):
    from hfseg.data.video import Video, VideoWriter

    with VideoWriter(tmp_path / "clip.webm", (96, 64), 8) as writer:
        for index in range(6):
            writer.write(np.full((64, 96, 3), 40 * index, np.uint8))
    open_tab(page, "Batch")
    page.set_input_files("[data-is=video]", tmp_path / "clip.webm")
    page.wait_for_selector("[data-is=results] video")
    page.wait_for_function("document.querySelector('[data-is=results] video').videoWidth === 96")
    (tmp_path / "result.webm").write_bytes(download(page, "Save video"))
    with Video(tmp_path / "result.webm") as video:
        assert sum(1 for _ in video) == 6


# 9: small things


@needs_browser
def test_everything_has_a_name_for_a_screen_reader(page, photo):
    segment(page, photo)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll(
            '#hfseg button, #hfseg input, #hfseg select, #hfseg [role=img], #hfseg [role=slider]')]
        .filter((each) => !(each.getAttribute('aria-label') || each.textContent.trim()
            || each.labels?.[0]?.textContent.trim()))
        .map((each) => each.outerHTML)"""
    )
    assert nameless == []


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, demo_page, scheme):
    """At least 4.5:1, WCAG 2.2 success criterion 1.4.3."""
    page = opened(browser, demo_page.address, color_scheme=scheme)
    pairs = page.evaluate(
        """() => ['[role=tab][aria-selected=true]', '[role=tab][aria-selected=false]', '.hint',
                  '.drop strong'].map((selector) => {
            const each = document.querySelector(`#hfseg ${selector}`);
            let behind = each;
            while (/, 0\\)$|transparent/.test(getComputedStyle(behind).backgroundColor)
                && behind.parentElement) behind = behind.parentElement;
            return [getComputedStyle(each).color, getComputedStyle(behind).backgroundColor];
        })"""
    )

    def luminance(color: str) -> float:
        channels = np.array(
            [float(part) for part in color[color.index("(") + 1 : -1].split(",")][:3]
        )
        linear = np.where(channels / 255 <= 0.04045, channels / 255 / 12.92,
                          ((channels / 255 + 0.055) / 1.055) ** 2.4)  # fmt: skip
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for text, background in pairs:
        light, dark = sorted((luminance(text), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, background)
    page.close()


@needs_browser
def test_the_api_snippets_on_the_page_run_as_they_stand(page, demo_page, photo, monkeypatch):
    page.get_by_role("checkbox", name="second").check()
    page.get_by_role("checkbox", name="first").uncheck()
    open_tab(page, "About")
    page.wait_for_selector("[data-is=card] h1")
    monkeypatch.chdir(photo.parent)
    Image.open(photo).convert("RGB").save("photo.jpg")
    names: dict = {}
    exec(compile(page.inner_text("[data-is=python]"), "snippet", "exec"), names)
    assert names["summary"]["model"] == "second"
    done = subprocess.run(["bash", "-euc", page.inner_text("[data-is=curl]")],
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert "event: complete" in done.stdout, done.stderr


@needs_browser
def test_what_goes_wrong_is_said_on_the_page_until_the_next_try(page, photo, tmp_path):
    (tmp_path / "notes.png").write_text("these are no pixels")
    choose(page, tmp_path / "notes.png")
    said = page.wait_for_selector("[data-is=problem]:not([hidden])").inner_text()
    assert "cannot be read as an image" in said and str(tmp_path) not in said
    segment(page, photo)
    assert page.locator("[data-is=problem]").is_hidden()


# starting it


def test_a_size_that_the_model_cannot_take_is_one_sentence(models):
    from hfseg.errors import UserError

    with pytest.raises(UserError, match="The model can't segment 3 × 2 pixels"):
        models.segment("first", "small.png", Image.new("RGB", (3, 2)))


def test_the_page_names_no_other_host():
    page = (DEMO / "page" / "index.html").read_text()
    scripts = "".join(path.read_text() for path in (DEMO / "page").glob("*.js"))
    assert "http://" not in page + scripts and "https://" not in page + scripts


def test_help_needs_no_heavy_import_and_a_missing_model_is_one_sentence(tmp_path):
    script = str(DEMO / "app.py")
    heavy = "import sys, runpy; sys.argv = ['app.py', '--help']\n"
    heavy += f"try: runpy.run_path({script!r}, run_name='__main__')\n"
    heavy += "finally: sys.exit(bool({'torch', 'gradio', 'transformers'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True)
    assert shown.returncode == 0 and "--models" in shown.stdout and "--sam" in shown.stdout

    run = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("error: there is no model in runs/quickstart yet")
    assert run.stderr.count("\n") == 1
