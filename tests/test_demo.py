"""The demo page, used by a real browser as a visitor would."""

import subprocess
import sys
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
    tiny_segmenter,
)
from PIL import Image

from hfseg.data.toyscapes import draw_scene
from hfseg.errors import UserError
from hfseg.visualization.overlay import contours as outlines


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


@pytest.fixture(scope="module")
def address(demo_page) -> str:
    return demo_page.address


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The opened page; afterwards: no console error, and nothing was asked of another host."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    page.on("console", lambda m: m.type == "error" and problems.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: problems.append(f"page: {error}"))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:", "blob:"))
            or problems.append(f"foreign request: {request.url}")
        ),
    )
    page.goto(address)
    page.wait_for_selector("#run")
    yield page
    page.close()
    assert not problems


@pytest.fixture
def photo(tmp_path) -> Path:
    return draw_photo(tmp_path / "my street.png")


def upload(page, path: Path, where: str = "#image") -> None:
    page.set_input_files(f"{where} input[type=file]", path)
    page.wait_for_selector(f"{where} img")


def segment(page, photo: Path) -> None:
    upload(page, photo)
    page.click("#run")
    page.wait_for_selector("#result .viewer[data-painted]")


def painted(page, selector: str) -> np.ndarray:
    """(H, W, 4) pixels of a figure's colours, without opacity."""
    values = page.evaluate(
        """selector => { const canvas = document.querySelector(selector);
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.height, canvas.width, Array.from(data.data)]; }""",
        f"{selector} canvas",
    )
    return np.array(values[2], dtype=np.uint8).reshape(values[0], values[1], 4)


@needs_browser
def test_a_visitor_segments_an_image_and_takes_mask_and_overlay_home(page, photo, models, tmp_path):
    segment(page, photo)
    found = models.segmenters["first"](photo)
    shown = [name.strip() for name in page.locator("#result tbody th").all_inner_texts()]
    occurring = {found.labels.names[index] for index in np.unique(found.mask)}
    assert len(shown) == len(occurring) and set(shown) == occurring
    assert shown[0] in page.get_attribute("#result .stage", "aria-label")

    with page.expect_download() as download:
        page.click("#result .downloads a")
    download.value.save_as(tmp_path / "mask.png")
    assert download.value.suggested_filename == "my street_mask.png"
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), found.mask)

    with page.expect_download() as download:
        page.click("#result .downloads button")
    download.value.save_as(tmp_path / "overlay.png")
    assert download.value.suggested_filename == "my street_overlay.png"
    overlay = np.asarray(Image.open(tmp_path / "overlay.png").convert("RGB")).astype(int)
    expected = np.asarray(found.overlay(0.55, legend=False)).astype(int)
    assert np.median(np.abs(overlay - expected)) <= 3  # the photo on the page is a JPEG


@needs_browser
def test_the_colours_on_the_page_are_those_of_the_classes(page, photo, models):
    segment(page, photo)
    found = models.segmenters["first"](photo)
    colors = found.labels.color_table()[found.mask]
    shown = painted(page, "#result .viewer")
    assert (shown[..., 3] == 255).all()
    same = (shown[..., :3] == colors).all(-1)
    assert same[~outlines(found.mask)].all()


@needs_browser
def test_the_class_under_the_pointer_or_the_arrow_keys_is_named(page, photo, models):
    segment(page, photo)
    found = models.segmenters["first"](photo)
    box = page.locator("#result .stage").bounding_box()
    for x, y in ((10, 10), (80, 50), (45, 30)):
        page.mouse.move(
            box["x"] + (x + 0.5) / 90 * box["width"], box["y"] + (y + 0.5) / 60 * box["height"]
        )
        assert page.inner_text("#result .under") == found.labels.names[found.mask[y, x]]
    page.mouse.move(0, 0)
    page.focus("#result .stage")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    x = int((45.5 / 90 - 0.3) * 90)
    assert page.inner_text("#result .under") == found.labels.names[found.mask[30, x]]


@needs_browser
def test_the_divider_and_the_opacity_change_the_picture_at_once(page, photo):
    segment(page, photo)
    page.locator("#result .divide input").fill("40")
    clip = "getComputedStyle(document.querySelector('#result canvas')).clipPath"
    assert page.evaluate(clip) == "inset(0px 0px 0px 40%)"
    page.locator("#opacity input[type=range]").fill("0.2")
    opacity = "getComputedStyle(document.querySelector('#result canvas')).opacity"
    page.wait_for_function(f"{opacity} === '0.2'")


@needs_browser
def test_models_stand_side_by_side_and_can_be_switched(page, photo, models):
    segment(page, photo)
    assert page.locator("#result .viewer").count() == 1
    page.get_by_role("checkbox", name="second").check()
    page.click("#run")
    page.wait_for_selector("#result .viewer:nth-child(2)[data-painted]")
    titles = page.locator("#result figcaption strong").all_inner_texts()
    assert titles == ["first", "second"]
    boxes = [page.locator("#result .viewer").nth(index).bounding_box() for index in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    page.get_by_role("checkbox", name="first").uncheck()
    page.click("#run")
    page.wait_for_function("document.querySelectorAll('#result .viewer').length === 1")
    page.wait_for_selector("#result .viewer[data-painted]")
    second = models.segmenters["second"](photo)
    shown = painted(page, "#result .viewer")[..., :3]
    same = (shown == second.labels.color_table()[second.mask]).all(-1)
    assert same[~outlines(second.mask)].all()


@needs_browser
def test_an_example_is_segmented_at_a_click(page):
    page.locator(".gallery-item:visible").first.click()
    page.wait_for_selector("#result .viewer[data-painted]")
    assert "256 × 160 pixels" in page.inner_text("#result")


@needs_browser
def test_no_image_is_told_in_one_sentence(page):
    page.click("#run")
    assert "Choose an image first." in page.wait_for_selector(".toast-body").inner_text()


@needs_browser
def test_a_file_that_is_no_image_is_told_without_a_traceback(browser, address, tmp_path):
    # a page of its own: the browser itself reports that it cannot show the file
    page = browser.new_page()
    page.goto(address)
    (tmp_path / "notes.png").write_text("these are no pixels")
    page.set_input_files("#image input[type=file]", tmp_path / "notes.png")
    page.wait_for_selector("#image img", state="attached")
    page.click("#run")
    message = page.wait_for_selector(".toast-body").inner_text()
    assert "cannot be read as an image" in message
    assert "Traceback" not in page.content() and str(tmp_path) not in message
    page.close()


@needs_browser
def test_an_image_of_8000_by_8000_pixels_is_told_in_one_sentence(page, tmp_path):
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    upload(page, tmp_path / "huge.png")
    page.click("#run")
    message = page.wait_for_selector(".toast-body").inner_text()
    assert "8000 × 8000 pixels, and 50 million are allowed" in message


@needs_browser
def test_everything_of_sam_is_shown_beside_the_model_and_joined_with_it(page, models, photo):
    page.get_by_role("tab", name="Compare with SAM").click()
    upload(page, photo, "#sam-image")
    page.click("#compare")
    page.wait_for_selector("#sam-result .viewer:nth-child(4)[data-painted]")
    titles = page.locator("#sam-result figcaption strong").all_inner_texts()
    assert titles == [
        "The model",
        "SAM, everything: no classes",
        "SAM's masks, the model's votes",
        "The model's regions, SAM's outlines",
    ]
    times = page.locator("#sam-result figcaption span").all_inner_texts()
    assert all(time.endswith(" s") or time.endswith(" ms") for time in times)
    covered = models.sam().segment_everything(Image.open(photo), 4).masks.any(axis=0)
    shown = painted(page, "#sam-result .viewer:nth-child(2)")
    assert (shown[covered, 3] == 255).all()
    assert len(np.unique(shown[covered].reshape(-1, 4), axis=0)) > 5  # masks, not one colour


@needs_browser
def test_a_clicked_point_gives_sams_object_and_the_refined_result(page, models, photo):
    page.get_by_role("tab", name="Compare with SAM").click()
    upload(page, photo, "#sam-image")
    image = page.wait_for_selector("#clicked img")
    page.wait_for_function("document.querySelector('#clicked img').complete")
    before = image.get_attribute("src")
    shown = image.evaluate(
        """image => { const box = image.getBoundingClientRect();
        const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
        return [box.x + (box.width - scale * image.naturalWidth) / 2,
                box.y + (box.height - scale * image.naturalHeight) / 2, scale]; }"""
    )
    left, top, scale = shown[0], shown[1], shown[2] * 1024 / 90
    page.mouse.click(left + 70.5 * scale, top + 20.5 * scale)
    page.wait_for_selector("#sam-result .viewer:nth-child(2)[data-painted]")
    assert "With your object" in page.inner_text("#sam-result")
    page.wait_for_function(
        "before => document.querySelector('#clicked img').src !== before", arg=before
    )

    from demo.compare_tab import with_object

    plain = models.segmenters["first"](photo).mask
    labels = models.segmenters["first"].labels
    refined = painted(page, "#sam-result .viewer:nth-child(2)")[..., :3]

    def agreement(x: float, y: float) -> float:
        masks = models.sam().prompt(Image.open(photo), points=[(x, y)], point_labels=[1])
        assert 0 < masks.masks.sum() < masks.masks.size
        expected = with_object(plain, masks.masks[0], labels)[0]
        same = (refined == labels.color_table()[expected]).all(-1)
        return same[~outlines(expected)].mean()

    # the mouse points at whole pixels of the screen, so a few pixels of a random SAM may differ
    elsewhere = [agreement(x, y) for x, y in ((20.5, 50.5), (20.5, 20.5), (70.5, 50.5))]
    assert agreement(70.5, 20.5) > max(*elsewhere, 0.995)
    assert (refined != painted(page, "#sam-result .viewer")[..., :3]).any()

    page.get_by_label("beside it").check()
    page.mouse.click(left + 10.5 * scale, top + 50.5 * scale)
    page.wait_for_timeout(300)
    page.click("#undo")
    page.click("#clear")
    page.wait_for_function("!document.querySelector('#sam-result .viewer')")


@needs_browser
def test_an_image_and_its_truth_are_scored(page, models, tmp_path):
    image, truth = draw_scene("test", 3)
    Image.fromarray(image).save(tmp_path / "scene.png")
    Image.fromarray(truth).save(tmp_path / "truth.png")
    page.get_by_role("tab", name="Evaluate").click()
    upload(page, tmp_path / "scene.png", "#eval-image")
    upload(page, tmp_path / "truth.png", "#truth")
    page.click("#evaluate")
    page.wait_for_selector("#eval-result .viewer[data-painted]")
    segmenter = models.segmenters["first"]
    prediction, scored = segmenter(tmp_path / "scene.png").mask, truth < 8
    right = (prediction == truth)[scored].mean()
    assert f"{100 * right:.1f} %" in page.inner_text("#eval-result .scores")
    names = page.locator("#eval-result tbody th").all_inner_texts()
    index = segmenter.labels.names.index(names[0])
    both = ((prediction == index) & (truth == index)).sum()
    either = (((prediction == index) & scored) | (truth == index)).sum()
    best = page.locator("#eval-result tbody .share").first.inner_text()
    assert best == f"{100 * both / either:.1f} %"
    assert "wrong" in page.get_attribute("#eval-result .plain img", "alt")


@needs_browser
def test_the_page_runs_without_sam_and_says_how_to_add_it(browser, photo, tmp_path):
    with served(tiny_models(), tmp_path / "page") as address:
        page = browser.new_page()
        page.goto(address)
        segment(page, photo)
        page.get_by_role("tab", name="Compare with SAM").click()
        text = page.wait_for_selector(".hint:visible").inner_text()
        assert "--sam facebook/sam2.1-hiera-tiny" in text
        assert page.locator("#compare").is_disabled()
        page.close()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark(page, photo, scheme):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.reload()
    segment(page, photo)
    for name in ("Compare with SAM", "Evaluate", "About", "Segment"):
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in background.strip("rgba()").split(",")[:3]]
    assert (sum(channels) < 200) == (scheme == "dark")


@needs_browser
def test_every_control_of_a_result_is_reached_by_the_tab_key(page, photo):
    segment(page, photo)
    page.focus("#opacity input[type=range]")
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className || "
                                     "document.activeElement.tagName"))  # fmt: skip
    assert {"stage", "A", "BUTTON"} <= set(reached)


def test_a_size_that_the_model_cannot_take_is_told_in_one_sentence(models):
    with pytest.raises(UserError, match="The model cannot segment 3 × 2 pixels"):
        models.segment("first", "small.png", Image.new("RGB", (3, 2)))


def test_a_model_of_other_classes_shows_no_toyscapes(models, tmp_path, monkeypatch):
    from demo.inputs import example_scenes
    from demo.shown_models import ShownModels

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    assert len(example_scenes(models)) == 4
    assert example_scenes(ShownModels({"pets": tiny_segmenter(("cat", "dog"))})) == []


def test_class_names_cannot_put_markup_into_the_page(photo, tmp_path, monkeypatch):
    from demo.viewer import key, viewer

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "page"))
    found = tiny_segmenter(("<b>one</b>", "\"'><b>two</b>"))(photo)
    shown = viewer("<b>", "photo.jpg", found.mask, found.labels, caption="<b>", name="<b>")
    assert "<b>" not in shown + key([found.mask], found.labels)


def test_a_mask_of_another_size_or_of_unknown_classes_is_one_sentence(models, photo, tmp_path):
    from demo.evaluate_tab import evaluated

    def said(mask: Image.Image) -> str:
        mask.save(tmp_path / "mask.png")
        with pytest.raises(UserError) as error:
            evaluated(models, str(photo), str(tmp_path / "mask.png"), "first")
        return str(error.value)

    assert "90 × 60 pixels, its mask 20 × 10" in said(Image.new("L", (20, 10)))
    assert "value 99" in said(Image.new("L", (90, 60), 99))
    assert "no pixel with a class" in said(Image.new("L", (90, 60), 255))


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
