"""A model card as HTML that loads nothing from other hosts."""

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from PIL import Image

from hfseg.errors import counted
from hfseg.inference import Segmenter

MAX_CHARACTERS = 40_000
"""Characters of a card that are shown, to limit the rendering time. Ours have about 8,000."""

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_LINK = re.compile(r"https?://", re.IGNORECASE)
_SCHEME = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PICTURE_SIDE = 1000
_PICTURE_PIXELS = 20_000_000


def read_card(source: str) -> str | None:
    """The README.md of a model folder or of a model on the Hub, as HTML; None if there is none."""
    folder = Path(source)
    if source and folder.is_dir():
        path: Path | None = folder / "README.md"
    else:
        path, folder = _card_on_hub(source), None
    if path is None or not path.is_file():
        return None
    return card_html(path.read_text(encoding="utf-8", errors="replace"), folder)


def card_html(text: str, folder: Path | None = None) -> str:
    """Render Markdown. HTML in it is shown as text; links lead to http(s) and nowhere else.

    Args:
        text: of a README.md, with or without front matter.
        folder: images in it become part of the page. Others are replaced by their description,
            so that no visitor's browser contacts another host.
    """
    text = _FRONT_MATTER.sub("", text.replace("\r\n", "\n"))
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS] + "\n\n(The rest of this card is left out.)"
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    # paths are needed for images; links with paths are removed below
    markdown.validateLink = lambda url: bool(_LINK.match(url)) or not _SCHEME.match(url)

    def image(tokens: Sequence[Token], index: int, *_: object) -> str:
        described = html.escape(tokens[index].content)
        data = folder and _as_data(folder, str(tokens[index].attrs["src"]))
        return f'<img src="{data}" alt="{described}">' if data else described

    def link(tokens: Sequence[Token], index: int, options: OptionsDict, env: object) -> str:
        token = tokens[index]
        if _LINK.match(str(token.attrs["href"])):
            token.attrs.update(rel="noopener noreferrer", target="_blank")
        else:
            token.attrs.clear()
        return markdown.renderer.renderToken(tokens, index, options, env)  # type: ignore[attr-defined]

    markdown.renderer.rules.update(image=image, link_open=link)  # type: ignore[attr-defined]
    return markdown.render(text)


def described(name: str, segmenter: Segmenter) -> str:
    """A short description of a model without a card, as HTML."""
    million = sum(parameter.numel() for parameter in segmenter.model.parameters()) / 1e6
    names = html.escape(", ".join(segmenter.labels.names))
    return (
        f"<h1>{html.escape(name)}</h1><p>This model has no card (README.md). It is a "
        f"<code>{type(segmenter.model).__name__}</code> with {million:.1f} million parameters, and "
        f"knows {counted(len(segmenter.labels), 'class')}: {names}.</p>"
    )


def _card_on_hub(source: str) -> Path | None:
    try:
        return Path(hf_hub_download(source, "README.md"))
    except (OSError, ValueError):  # absent, no network or not an id: the same to a visitor
        return None


def _as_data(folder: Path, target: str) -> str | None:
    """An image in the folder as a data URL; None for anything else."""
    try:
        path = (folder / target).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > _PICTURE_PIXELS:
                return None
            image = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    image.thumbnail((_PICTURE_SIDE, 4 * _PICTURE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
