"""A browser on the demo page, and what a visitor does in it: mouse, keyboard and touch."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

SEGMENT = "[data-is=segment]"
CORRECT = "[data-is=correct]"
EVALUATE = "[data-is=evaluate]"


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


def choose(page, path: Path) -> None:
    page.set_input_files("[data-is=file]", path)


def segment(page, path: Path, panes: int = 1) -> None:
    choose(page, path)
    page.wait_for_selector(f"{SEGMENT} .pane:nth-child({panes})[data-painted]")


def open_tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def colors(page, pane: str = f"{SEGMENT} .pane") -> np.ndarray:
    """(H, W, 4) pixels of what is painted over a photo."""
    url = page.evaluate(
        "selector => document.querySelector(selector).toDataURL()", f"{pane} canvas"
    )
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA"))


def place(page, x: float, y: float, tab: str = SEGMENT) -> tuple[float, float]:
    """The spot on the screen of a place of the picture, given as fractions."""
    box = page.locator(f"{tab} .world").first.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def download(page, button: str) -> bytes:
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    return Path(found.value.path()).read_bytes()


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbor is of another class: there the page draws a line."""
    lines = np.zeros(mask.shape, dtype=bool)
    lines[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    lines[:-1] |= mask[:-1] != mask[1:]
    return lines
