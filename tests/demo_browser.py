"""A browser on the demo page, and what a visitor does in it: mouse, keyboard and touch."""

import base64
import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SEGMENT = "[data-is=segment]"
CORRECT = "[data-is=correct]"
EVALUATE = "[data-is=evaluate]"


def opened(browser, address, **options):
    """A page; `page.problems` lists console errors and requests to other hosts."""
    viewport = {"width": 1400, "height": 900}
    options = {"viewport": viewport, "reduced_motion": "reduce", **options}
    page = _context(browser, json.dumps(options, sort_keys=True)).new_page()
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


@functools.cache
def _context(browser, options: str):
    """One for all pages with the same options: gradio's scripts are loaded once."""
    return browser.new_context(**json.loads(options))


def choose(page, path: Path) -> None:
    page.set_input_files("[data-is=file]", path)


def give(page, paths: Sequence[Path], way: str) -> None:
    """Drop files on the heading of the page, or paste them."""
    contents = [(path.name, base64.b64encode(path.read_bytes()).decode()) for path in paths]
    page.evaluate(
        """([contents, way]) => {
            const files = new DataTransfer();
            for (const [name, content] of contents) {
                const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
                files.items.add(new File([bytes], name, {type: "image/png"}));
            }
            const options = {bubbles: true, cancelable: true};
            document.querySelector("#hfseg h1").dispatchEvent(way === "drop"
                ? new DragEvent("drop", {...options, dataTransfer: files})
                : new ClipboardEvent("paste", {...options, clipboardData: files}));
        }""",
        [contents, way],
    )


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
