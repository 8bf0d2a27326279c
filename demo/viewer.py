"""Figures that compare a photo with its classes: HTML here, what moves in `page.js`.

The page gets the photo and the class ids as pictures; colours, opacity, the divider and the name
under the pointer need no further request.
"""

import html
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from hfseg.labels import LabelSet


def save_picture(image: Image.Image, name: str, photo: bool = False) -> str:
    """Write a picture into the temporary folder, under a name that nobody can guess.

    Args:
        name: of the file, without suffix.
        photo: JPEG, else PNG.

    Returns:
        Its path.
    """
    folder = Path(get_upload_folder(), secrets.token_hex(16))
    folder.mkdir(parents=True)
    path = folder / f"{_file_name(name)}.{'jpg' if photo else 'png'}"
    if photo:
        image.save(path, quality=92)
    else:
        image.save(path, compress_level=3)
    return str(path)


def address(path: str) -> str:
    """Of a saved picture, relative to the page."""
    from gradio_client.utils import encode_file_path

    return f"gradio_api/file={encode_file_path(path)}"


def viewers(figures: Sequence[str], note: str = "", least: int = 270) -> str:
    """Several figures beside each other; they move together.

    Args:
        least: width in pixels below which a figure is put under its neighbour.
    """
    told = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f'{told}<div class="viewers" style="--least: {least}px">{"".join(figures)}</div>'


def viewer(
    title: str,
    photo: str,
    mask: np.ndarray,
    labels: LabelSet,
    *,
    caption: str = "",
    name: str = "image",
    legend: bool = True,
    kind: str = "classes",
) -> str:
    """One figure: the photo under the colours of a mask, with its legend and downloads.

    Args:
        title: what the colours come from.
        photo: path of the saved photo, of the mask's size.
        mask: (H, W) uint8 ids; ids without a name stay without a colour.
        labels: names and colours.
        caption: such as the time it took.
        name: for the files to download.
        legend: show the table of classes.
        kind: what the ids are, for the reader.
    """
    from hfseg.visualization.overlay import area_shares, index_png

    height, width = mask.shape
    ids = address(save_picture(Image.fromarray(mask), f"{name}_ids"))
    palette = html.escape(json.dumps([list(color) for color in labels.palette]))
    names = html.escape(json.dumps(list(labels.names)))
    shares = {
        index: share for index, share in area_shares(mask, labels).items() if index < len(labels)
    }
    listed = ", ".join(
        f"{labels.names[index]} {percent(share)}" for index, share in list(shares.items())[:6]
    )
    described = f"{title}: the image under its coloured {kind}. {listed}"
    download = address(save_picture(index_png(mask, labels), f"{name}_mask"))
    table = legend_table(shares, labels, width, height) if legend else ""
    return (
        f'<figure class="viewer" data-ids="{ids}" data-palette="{palette}" data-names="{names}" '
        f'data-file="{html.escape(_file_name(name))}_overlay.png">'
        f"<figcaption><strong>{html.escape(title)}</strong> "
        f"<span>{html.escape(caption)}</span></figcaption>"
        f'<div class="stage" tabindex="0" role="img" aria-label="{html.escape(described)}. '
        'Arrow keys move a pointer that names what is under it." '
        f'style="aspect-ratio: {width} / {height}">'
        f'<img src="{address(photo)}" alt="" draggable="false">'
        f'<canvas width="{width}" height="{height}" aria-hidden="true"></canvas>'
        '<div class="edge" aria-hidden="true"></div><div class="probe" aria-hidden="true"></div>'
        "</div>"
        '<div class="tools"><label class="divide"><span>Photo</span>'
        '<input type="range" min="0" max="100" value="0" '
        f'aria-label="{html.escape(title)}: share of the width shown as the plain photo"></label>'
        '<output class="under" aria-live="polite">Point at the image</output></div>'
        f'<p class="downloads"><a href="{download}" download="{html.escape(_file_name(name))}'
        '_mask.png">Download mask</a> <button type="button">Download overlay</button></p>'
        f"{table}</figure>"
    )


def plain_figure(title: str, path: str, described: str, caption: str = "") -> str:
    """A picture without anything to move, in the same frame."""
    return (
        '<figure class="viewer plain">'
        f"<figcaption><strong>{html.escape(title)}</strong> <span>{html.escape(caption)}</span>"
        f'</figcaption><img src="{address(path)}" alt="{html.escape(described)}"></figure>'
    )


def legend_table(shares: dict[int, float], labels: LabelSet, width: int, height: int) -> str:
    """The classes that occur with their colours and shares of the area."""
    rows = [
        row(
            labels.palette[index],
            labels.names[index],
            share / max(shares.values()),
            percent(share),
        )
        for index, share in shares.items()
    ]
    caption = f"{len(shares)} of {len(labels)} classes in {width} × {height} pixels"
    return table("Area", rows, caption)


def key(masks: Sequence[np.ndarray], labels: LabelSet) -> str:
    """Colour and name of every class that occurs in one of the masks, in a line."""
    found = np.unique(np.concatenate([np.unique(mask) for mask in masks]))
    items = [
        "<li><span style="
        f'"background: rgb({", ".join(map(str, labels.palette[index]))})"></span>'
        f"{html.escape(labels.names[index])}</li>"
        for index in found.tolist()
        if index < len(labels)
    ]
    return f'<ul class="key" aria-label="Classes">{"".join(items)}</ul>'


def table(heading: str, rows: Sequence[str], caption: str) -> str:
    """A table of classes with bars."""
    return (
        f'<table class="legend"><caption>{html.escape(caption)}</caption>'
        '<thead><tr><th class="swatch" aria-label="colour"></th><th>Class</th>'
        f'<th class="bar" aria-hidden="true"></th><th class="share">{heading}</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def row(color: Sequence[int], name: str, part: float, value: str) -> str:
    css = "rgb({}, {}, {})".format(*color)
    return (
        f'<tr><td class="swatch"><span style="background: {css}"></span></td>'
        f'<th scope="row">{html.escape(name)}</th><td class="bar"><span style="background: {css}; '
        f'width: {100 * part:.1f}%"></span></td><td class="share">{value}</td></tr>'
    )


def percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def pictures_of_masks(masks: Any) -> tuple[np.ndarray, LabelSet]:
    """SAM's masks as one map: small ones on top, the 254 largest if there are more.

    Returns:
        (H, W) uint8 numbers of masks, 255 where there is none, and their names and colours.
    """
    from hfseg.labels import default_palette

    areas = masks.masks.sum(axis=(1, 2))
    order = np.argsort(-areas, kind="stable")[:254]
    numbers = np.full(masks.masks.shape[1:], 255, dtype=np.uint8)
    names = []
    for number, index in enumerate(order):
        numbers[masks.masks[index]] = number
        names.append(f"mask {number + 1}, predicted IoU {masks.scores[index]:.2f}")
    names = names or ["no mask"]
    return numbers, LabelSet(tuple(names), default_palette(len(names)))


def _file_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_ ." else "_" for letter in name)
    return kept.strip(". ")[:80] or "image"
