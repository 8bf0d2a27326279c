"""The page for everybody: screen readers, contrast, formats, errors, and its web API."""

import subprocess

import numpy as np
import pytest
from demo_browser import choose, open_tab, opened, segment
from demo_server import needs_browser
from PIL import Image, features


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


@needs_browser
def test_a_photo_in_the_format_of_a_phone_is_read(page, photo, tmp_path):
    """AVIF, which Pillow reads by itself; HEIC takes pillow-heif."""
    if not features.check("avif"):
        pytest.skip("AVIF: install a Pillow that reads it")
    image = Image.open(photo).convert("RGB")
    image.save(tmp_path / "phone.avif")
    segment(page, tmp_path / "phone.avif")
    assert f"{image.width} × {image.height}" in page.inner_text("[data-is=segment] figcaption")
