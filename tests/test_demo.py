"""The demo page, used by a real browser as a visitor would."""

import importlib.util
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from hfseg.data.toyscapes import LABELS
from hfseg.inference import Segmenter

APP = Path(__file__).parent.parent / "demo" / "app.py"
CHROMIUM = shutil.which("chromium")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium; .ci/run does)"
)


def load_app():
    spec = importlib.util.spec_from_file_location("demo_app", APP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny_segmenter(names: tuple[str, ...] = LABELS.names) -> Segmenter:
    """A random SegFormer; one with the names of toyscapes brings the examples with it."""
    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    model = SegformerForSemanticSegmentation(config)
    with torch.no_grad():  # with the initial range of 0.02 one class would win everywhere
        for parameter in model.decode_head.parameters():
            parameter.normal_()
    return Segmenter(model, SegformerImageProcessor(do_resize=False))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny_segmenter()


@pytest.fixture(scope="module")
def address(segmenter):
    """The page, served on a free port."""
    demo = load_app()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = demo.build_app(segmenter)
    _, url, _ = app.launch(
        server_name="127.0.0.1",
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        **demo.launch_options(),
    )
    yield url
    app.close(verbose=False)


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
    coarse = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = tmp_path / "my street.png"
    Image.fromarray(coarse).resize((90, 60), Image.Resampling.BICUBIC).save(path)
    return path


def upload(page, path: Path) -> None:
    page.set_input_files("#image input[type=file]", path)
    page.wait_for_selector("#image img")


@needs_browser
def test_a_visitor_segments_an_image_and_takes_the_mask_home(page, photo, segmenter, tmp_path):
    upload(page, photo)
    page.click("#run")
    result = page.wait_for_selector("#result img")

    found = segmenter(photo)
    shown = [name.strip() for name in page.locator("#legend tbody th").all_inner_texts()]
    occurring = {segmenter.labels.names[index] for index in np.unique(found.mask)}
    assert len(shown) == len(occurring) and set(shown) == occurring
    assert shown[0] in result.get_attribute("alt")
    assert page.evaluate("image => [image.naturalWidth, image.naturalHeight]", result) == [90, 60]

    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "mask.png")
    assert download.value.suggested_filename == "my street_mask.png"
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), found.mask)


@needs_browser
def test_the_opacity_slider_draws_the_overlay_anew(page, photo):
    upload(page, photo)
    page.click("#run")
    before = page.wait_for_selector("#result img").get_attribute("src")
    page.locator("#opacity input[type=range]").fill("0")
    page.wait_for_function(
        "before => document.querySelector('#result img').src !== before", arg=before
    )
    shown = page.request.get(page.get_attribute("#result img", "src")).body()
    (photo.parent / "shown.png").write_bytes(shown)
    difference = np.asarray(Image.open(photo.parent / "shown.png")).astype(int)
    difference = np.abs(difference - np.asarray(Image.open(photo)))
    assert np.median(difference) == 0  # without colour, but for the lines between the regions


@needs_browser
def test_an_example_is_segmented_at_a_click(page):
    assert page.locator(".gallery-item").count() == 4
    page.locator(".gallery-item").first.click()
    page.wait_for_selector("#result img")
    assert "256 × 160 pixels" in page.inner_text("#legend")


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
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark(page, photo, scheme):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.reload()
    upload(page, photo)
    page.click("#run")
    page.wait_for_selector("#legend table")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in background.strip("rgba()").split(",")[:3]]
    assert (sum(channels) < 200) == (scheme == "dark")


def test_a_large_upload_is_scaled_down_and_the_reader_is_told(tmp_path, segmenter):
    Image.new("RGB", (3072, 128)).save(tmp_path / "wide.png")
    found, note = load_app().answer_for(segmenter, str(tmp_path / "wide.png"))
    assert found.mask.shape == (64, 1536)
    assert note == "Scaled from 3072 × 128 to 1536 × 64 pixels."


def test_a_size_that_the_model_cannot_take_is_told_in_one_sentence(tmp_path, segmenter):
    import gradio as gr

    Image.new("RGB", (3, 2)).save(tmp_path / "small.png")
    with pytest.raises(gr.Error, match="The model cannot segment 3 × 2 pixels"):
        load_app().answer_for(segmenter, str(tmp_path / "small.png"))


def test_a_model_of_other_classes_shows_no_toyscapes(segmenter):
    demo = load_app()
    assert len(demo.example_images(segmenter.labels)) == 4
    assert demo.example_images(tiny_segmenter(("cat", "dog")).labels) == []


def test_class_names_cannot_put_markup_into_the_page(photo):
    found = tiny_segmenter(("<b>one</b>", "<b>two</b>"))(photo)
    assert "<b>" not in load_app().legend_table(found, "")


def test_help_needs_no_heavy_import_and_a_missing_model_is_one_sentence(tmp_path):
    heavy = "import sys, runpy; sys.argv = ['app.py', '--help']\n"
    heavy += f"try: runpy.run_path({str(APP)!r}, run_name='__main__')\n"
    heavy += "finally: sys.exit(bool({'torch', 'gradio', 'transformers'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True)
    assert shown.returncode == 0 and "--model" in shown.stdout

    run = subprocess.run([sys.executable, APP], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("error: there is no model in runs/quickstart yet")
    assert run.stderr.count("\n") == 1
