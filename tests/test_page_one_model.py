"""A page with one model that knows a background, and without SAM."""

import pytest
from demo_browser import colors, open_tab, opened, outline, segment
from demo_server import needs_browser, served, tiny_segmenter

from demo.shown_models import ShownModels


@pytest.fixture(scope="module")
def pets_page(tmp_path_factory):
    """A page with one model that knows a background, and without SAM."""
    models = ShownModels({"pets": tiny_segmenter(("background", "cat", "dog"))})
    with served(models, tmp_path_factory.mktemp("pets") / "page") as address:
        yield address, models


@needs_browser
def test_the_page_runs_without_sam_and_says_how_to_add_it(browser, pets_page, photo):
    page = opened(browser, pets_page[0])
    segment(page, photo)
    open_tab(page, "Correct")
    assert "--sam facebook/sam2.1-hiera-tiny" in page.inner_text("[data-is=no-sam]")
    page.close()


@needs_browser
def test_background_is_painted_only_when_asked(browser, pets_page, photo):
    address, models = pets_page
    page = opened(browser, address)
    segment(page, photo)
    mask = models.segmenters["pets"](photo).mask
    background = (mask == 0) & ~outline(mask)
    assert background.any()
    assert not (colors(page)[..., 3] > 0)[background].any()
    page.get_by_role("button", name="background").click()
    page.mouse.move(0, 0)
    assert (colors(page)[..., 3] > 0).all()
    page.close()
