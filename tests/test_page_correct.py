"""Objects corrected with SAM on the page, and the training pairs that come of it."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from demo_browser import CORRECT, choose, download, open_tab, opened, place, segment
from demo_server import draw_photo, needs_browser
from PIL import Image

from hfseg.visualization.overlay import index_png


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


# 6: correct with SAM


@needs_browser
def test_quick_clicks_are_all_kept_and_undo_and_redo_go_through_them(page, photo):
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.get_by_label("off the object").check()
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


@needs_browser
def test_points_are_added_by_keyboard_and_by_touch(browser, demo_page, photo):
    page = opened(
        browser, demo_page.address, viewport={"width": 390, "height": 844}, has_touch=True
    )
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.focus(f"{CORRECT} .stage")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator(f"{CORRECT} .point.on").count() == 1
    page.touchscreen.tap(*place(page, 0.3, 0.4, CORRECT))
    assert page.locator(f"{CORRECT} .point.on").count() == 2
    page.wait_for_function(
        "document.querySelector('[data-is=objects]').textContent.includes('predicted IoU')"
    )
    page.close()


def corrected_pairs(page, photo: Path, tmp_path: Path, count: int) -> Path:
    """The unpacked download of photos, the first of which has an object of class car."""
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.mouse.click(*place(page, 0.5, 0.5, CORRECT))
    page.wait_for_function(
        "document.querySelector('[data-is=objects]').textContent.includes('predicted IoU')"
    )
    page.get_by_label("Class of object 1").select_option("car")
    page.get_by_role("button", name="Add to the list").click()
    for index in range(count - 1):
        choose(page, draw_photo(tmp_path / f"photo {index}.png", (96, 64)))
        page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
        page.get_by_role("button", name="Add to the list").click()
        page.wait_for_function(
            "n => document.querySelector('[data-is=save-pairs]').textContent.includes(n)",
            arg=f"Save {index + 2} pairs",
        )
    content = download(page, f"Save {count} pairs as ZIP")
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "pairs")
    return tmp_path / "pairs"


@needs_browser
def test_corrected_photos_download_as_data_that_finetune_reads(page, photo, models, tmp_path):
    from hfseg.data import load_dataset

    corrected_pairs(page, photo, tmp_path, 3)
    data, labels = load_dataset("folder", str(tmp_path / "pairs"))
    assert labels.names == models.segmenters["first"].labels.names
    assert sum(len(split) for split in data.values()) == 3
    mask = np.asarray(Image.open(tmp_path / "pairs" / "masks" / "my street.png"))
    assert (mask == labels.names.index("car")).any()
    assert Image.open(tmp_path / "pairs" / "images" / "my street.png").size == mask.shape[::-1]


@needs_browser
def test_a_mask_that_exists_is_corrected_in_place_of_the_models(page, photo, models, tmp_path):
    labels = models.segmenters["first"].labels
    width, height = Image.open(photo).size
    suggested = np.zeros((height, width), np.uint8)
    suggested[:, width // 2 :] = labels.names.index("car")
    index_png(suggested, labels).save(tmp_path / "suggested.png")
    segment(page, photo)
    open_tab(page, "Correct")
    page.wait_for_selector(f"{CORRECT} .pane[data-painted]")
    page.set_input_files("[data-is=mask]", tmp_path / "suggested.png")
    page.wait_for_selector(f"{CORRECT} figcaption:has-text('suggested.png')")
    content = download(page, "Save photo and mask")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        mask = Image.open(io.BytesIO(archive.read("masks/my street.png")))
    np.testing.assert_array_equal(np.asarray(mask), suggested)


@needs_browser
@pytest.mark.slow
def test_finetune_trains_on_what_the_page_gave(page, photo, tmp_path):
    from launch import run_finetune

    pairs = corrected_pairs(page, photo, tmp_path, 10)
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
