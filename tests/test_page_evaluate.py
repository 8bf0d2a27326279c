"""A photo and its ground truth on the page: scores, and the errors over the photo."""

import numpy as np
import pytest
from demo_browser import choose, colors, open_tab, place, segment
from demo_server import needs_browser
from PIL import Image

from hfseg.data.toyscapes import draw_scene


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


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
    painted = colors(page, "[data-is=evaluate] .pane")[..., :3].astype(int)
    wrong = (painted[..., 0] > 200) & (painted[..., 1] < 100)
    np.testing.assert_array_equal(wrong, known & (prediction != truth))
    stripes = np.unique(painted[~known], axis=0)  # which a gray photo does not have
    assert len(stripes) == 2 and np.ptp(stripes.sum(axis=1)) > 300
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
    from demo.tabs.evaluate import Evaluate
    from hfseg.errors import UserError

    def said(mask: Image.Image) -> str:
        mask.save(tmp_path / "mask.png")
        image, truth = {"path": str(photo)}, {"path": str(tmp_path / "mask.png")}
        with pytest.raises(UserError) as error:
            Evaluate(models).evaluate(image, truth)
        return str(error.value)

    size = Image.open(photo).size
    assert f"{size[0]} × {size[1]} pixels, but its mask 20 × 10" in said(Image.new("L", (20, 10)))
    assert "value 99" in said(Image.new("L", size, 99))
    assert "No pixel of the mask has a class" in said(Image.new("L", size, 255))
