"""Tab *About*: the card of each model, without anything that would reach out of this page."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import gradio as gr
from .inputs import PRIVATE, model_menu
from PIL import Image
from .shown_models import ShownModels

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)")
_TAGS = re.compile(
    r"</?(?:img|picture|source|video|audio|iframe|object|embed|link|style|svg)\b[^>]*>",
    re.IGNORECASE,
)
_PICTURE_SIDE = 1000


def about_tab(models: ShownModels, tab: gr.Tab) -> None:
    """Build the tab inside `gr.Blocks`; a card is read when the tab is opened."""
    model = model_menu(models, "about-model")
    card = gr.Markdown(elem_id="card", latex_delimiters=[])

    def read(name: str) -> str:
        segmenter = models.segmenter(name)
        return read_card(models.cards.get(name, "")) or described(name, segmenter)

    tab.select(read, model, card, **PRIVATE)
    model.change(read, model, card, **PRIVATE)


def read_card(source: str) -> str | None:
    """The README.md of a model folder or of a model on the Hub, fit to be shown.

    Pictures in the model's folder become part of the text. Others are replaced by their
    description, so that no visitor's browser is sent to another host. None if there is no card.
    """
    folder = Path(source)
    if source and folder.is_dir():
        path = folder / "README.md"
        if not path.is_file():
            return None
        return shown(path.read_text(encoding="utf-8", errors="replace"), folder)
    path = _card_on_hub(source)
    return None if path is None else shown(path.read_text(encoding="utf-8"), None)


def _card_on_hub(source: str) -> Path | None:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, "README.md"))
    except (OSError, ValueError):  # absent, no network, not an id: all the same to a visitor
        return None


def described(name: str, segmenter: Any) -> str:
    """What is known of a model without a card."""
    million = sum(parameter.numel() for parameter in segmenter.model.parameters()) / 1e6
    names = ", ".join(segmenter.labels.names)
    return (
        f"# {name}\n\nThis model has no card (README.md). It is a "
        f"`{type(segmenter.model).__name__}` with {million:.1f} million parameters, and knows "
        f"{len(segmenter.labels)} classes: {names}."
    )


def shown(text: str, folder: Path | None) -> str:
    """Markdown without front matter, embedded media and foreign pictures."""
    text = _TAGS.sub("", _FRONT_MATTER.sub("", text.replace("\r\n", "\n")))

    def embedded(match: re.Match[str]) -> str:
        described, target = match.groups()
        data = folder and _as_data(folder, target)
        return f"![{described}]({data})" if data else described

    return _PICTURE.sub(embedded, text)


def _as_data(folder: Path, target: str) -> str | None:
    """A picture in the folder as a data address; None for anything else."""
    try:
        path = (folder / target).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            image = image.convert("RGB")
    except (OSError, ValueError):
        return None
    image.thumbnail((_PICTURE_SIDE, 4 * _PICTURE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
