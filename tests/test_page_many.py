"""Many images, videos and the camera on the page."""

import csv
import io
import zipfile

import numpy as np
import pytest
from demo_browser import download, give, open_tab, segment
from demo_server import draw_photo, needs_browser
from PIL import Image
from tolerance import assert_same_mask

from hfseg.data.video import Video, VideoWriter


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


# 8: many images and video


@needs_browser
def test_a_batch_gives_masks_and_areas(page, models, tmp_path):
    paths = [draw_photo(tmp_path / f"{index}.png", (90, 60)) for index in range(3)]
    (tmp_path / "notes.png").write_text("no pixels")
    open_tab(page, "Batch")
    assert page.locator("[data-is=drop]").is_hidden()  # the one photo plays no part here
    assert page.locator("[data-is=models]").is_visible()
    give(page, [*paths, tmp_path / "notes.png"], "drop")
    page.wait_for_selector("[data-is=results] table")
    assert "3 of 4 images" in page.inner_text("[data-is=results] h3")
    assert "over all images" in page.inner_text("[data-is=results] caption")
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
    with VideoWriter(tmp_path / "clip.webm", (96, 64), 8) as writer:
        for index in range(6):
            writer.write(np.full((64, 96, 3), 40 * index, np.uint8))
    open_tab(page, "Batch")
    page.set_input_files("[data-is=video]", tmp_path / "clip.webm")
    page.wait_for_selector("[data-is=results] video")
    page.wait_for_function("document.querySelector('[data-is=results] video').videoWidth === 96")
    assert "over all frames" in page.inner_text("[data-is=results] caption")
    (tmp_path / "result.webm").write_bytes(download(page, "Save video"))
    with Video(tmp_path / "result.webm") as video:
        assert sum(1 for _ in video) == 6


@needs_browser
def test_what_the_camera_sees_is_segmented_frame_by_frame(page, tmp_path):
    open_tab(page, "Batch")
    page.get_by_role("button", name="Record with the camera").click()
    page.wait_for_function("document.querySelector('[data-is=camera] video')?.currentTime > 0.4")
    page.get_by_role("button", name="Stop (automatic after").click()
    page.wait_for_selector("[data-is=results] video")
    assert page.locator("[data-is=camera] video").count() == 0
    (tmp_path / "result.webm").write_bytes(download(page, "Save video"))
    with Video(tmp_path / "result.webm") as video:
        count = sum(1 for _ in video)
    assert page.inner_text("[data-is=results] h3").startswith(f"{count} frames") and count > 0
    rows = list(csv.reader(io.StringIO(download(page, "Save areas as CSV").decode())))
    assert len(rows) == count + 1


@needs_browser
def test_a_recording_is_given_up_for_another_photo(page, photo):
    open_tab(page, "Batch")
    page.get_by_role("button", name="Record with the camera").click()
    page.wait_for_function("document.querySelector('[data-is=camera] video')?.currentTime > 0.2")
    open_tab(page, "Segment")
    segment(page, photo)
    assert page.locator("[data-is=camera] video").count() == 0
    assert page.locator("[data-is=results] *").count() == 0
