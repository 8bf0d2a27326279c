"""Models on the page: colors, nothing stale, side by side, and what each way costs."""

import time

import numpy as np
import pytest
from demo_browser import CORRECT, SEGMENT, choose, colors, open_tab, outline, place, segment
from demo_server import draw_photo, needs_browser

from demo.colors import shared_colors
from hfseg.labels import LabelSet


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


# 3: the same class has the same color


def test_a_class_has_one_color_in_all_models_and_no_two_look_alike():
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


@needs_browser
def test_a_class_has_one_color_in_two_panes_whatever_its_number(page, photo, models):
    page.get_by_role("checkbox", name="second").check()
    segment(page, photo, panes=2)
    seen: dict[str, list] = {}
    for index, name in enumerate(("first", "second"), start=1):
        found = models.segmenters[name](photo)
        painted = colors(page, f"{SEGMENT} .pane:nth-child({index})")
        for id_ in np.unique(found.mask):
            inside = (found.mask == id_) & ~outline(found.mask)
            if inside.any():
                seen.setdefault(found.labels.names[id_], []).append(
                    set(map(tuple, painted[inside]))
                )
    assert max(map(len, seen.values())) == 2, "the models have no class in common here"
    assert all(len(set.union(*found)) == 1 for found in seen.values()), seen


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

    segment_really = models.segment

    def slowly(*args, **options):
        time.sleep(1.5)
        return segment_really(*args, **options)

    monkeypatch.setattr(models, "segment", slowly)
    choose(page, photo)
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("[data-is=doing]", state="hidden")
    assert page.locator(f"{SEGMENT} .pane").count() == 0
    assert page.inner_text("[data-is=problem-says]") == "Stopped."
    monkeypatch.undo()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(f"{SEGMENT} .pane[data-painted]")
    assert page.locator("[data-is=problem]").is_hidden()


# 5: compare models


@needs_browser
def test_two_models_are_compared_by_a_map_and_a_share_of_pixels(page, photo, models):
    page.get_by_role("checkbox", name="second").check()
    segment(page, photo, panes=2)
    page.get_by_role("button", name="Where they differ").click()
    one, two = (models.segmenters[name](photo).mask for name in ("first", "second"))
    two = len(models.labels("second")) - 1 - two  # its classes are numbered backwards
    assert f"differ in {100 * np.mean(one != two):.1f} %" in page.inner_text("[data-is=map-says]")
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
