"""The output of `hfseg inspect`: a table, a page, JSON and sheets of samples."""

import json
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hfseg.data.checks import Inspection, SplitSummary
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import legend_image, overlay
from hfseg.visualization.tables import terminal_table

_PANEL, _GAP, _CAPTION, _COLUMNS = 300, 8, 22, 2
_MOST_LINES = 200  # problems and warnings on the page
_TEMPLATE = Path(__file__).with_name("dataset_report_template.html")


class ContactSheet:
    """Samples as image and overlay side by side, with captions above and a legend below."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.tiles: list[Image.Image] = []
        self._pixels = np.zeros(256, dtype=np.int64)

    def add(self, caption: str, image: Image.Image, ids: np.ndarray) -> None:
        """Add one sample; `ids` has the size of the image."""
        self._pixels += np.bincount(ids.ravel(), minlength=256)
        panels = (image, overlay(image, ids, self.labels))
        tile = Image.new("RGB", (2 * _PANEL + _GAP, _CAPTION + _PANEL), "white")
        ImageDraw.Draw(tile).text((2, 3), caption, fill="black", font=_font())
        for column, panel in enumerate(panels):
            # enlarged without interpolation, so that the pixels of small images stay visible
            scale = _PANEL / max(panel.size)
            size = (max(1, round(scale * panel.width)), max(1, round(scale * panel.height)))
            method = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
            tile.paste(panel.resize(size, method), (column * (_PANEL + _GAP), _CAPTION))
        height = _CAPTION + min(_PANEL, round(_PANEL * image.height / max(image.size)))
        self.tiles.append(tile.crop((0, 0, tile.width, height)))

    def save(self, path: Path) -> None:
        """Write the sheet as PNG."""
        rows = [self.tiles[i : i + _COLUMNS] for i in range(0, len(self.tiles), _COLUMNS)]
        heights = [max(tile.height for tile in row) + _GAP for row in rows]
        width = _COLUMNS * (2 * _PANEL + _GAP) + (_COLUMNS + 1) * _GAP
        occurring = {i: n / self._pixels.sum() for i, n in enumerate(self._pixels) if n}
        legend = legend_image(occurring, self.labels, width - 2 * _GAP)
        sheet = Image.new("RGB", (width, sum(heights) + legend.height + 2 * _GAP), "white")
        top = _GAP
        for row, height in zip(rows, heights, strict=True):
            for column, tile in enumerate(row):
                sheet.paste(tile, (_GAP + column * (2 * _PANEL + 2 * _GAP), top))
            top += height
        sheet.paste(legend, (_GAP, top))
        sheet.save(path)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13)


def inspection_table(found: Inspection) -> str:
    """Fraction of the labeled pixels and number of images per class and split."""
    splits = found.splits.values()
    rows = [["class", *(head for name in found.splits for head in (name, "images")), "weight"]]
    for index, name in enumerate(found.labels.names):
        cells = [
            cell
            for split in splits
            for cell in (_percent(split.pixels[index], split.pixels), str(split.in_images[index]))
        ]
        weight = f"{found.weights[index]:.3f}" if found.weights[index] else "-"
        rows.append([name, *cells, weight])
    ignored = (
        cell
        for split in splits
        for cell in (_percent(split.ignored, [*split.pixels, split.ignored]), "")
    )
    rows.append(["ignored", *ignored, ""])
    sizes = (
        f"{name}: {summary.images} images; {_sizes(summary, 4)}"
        for name, summary in found.splits.items()
    )
    return "\n".join([terminal_table(rows, summary_rows=1), *sizes])


def _percent(part: int, counts: Sequence[int]) -> str:
    total = sum(counts)
    return f"{100 * part / total:.2f} %" if total and part else "-"


def _sizes(summary: SplitSummary, most: int) -> str:
    sizes = ", ".join(f"{size} ({n})" for size, n in list(summary.sizes.items())[:most])
    more = len(summary.sizes) - most
    return f"{sizes} and {more} more sizes" if more > 0 else sizes


def write_inspection(folder: Path, title: str, found: Inspection, sheets: dict[str, str]) -> None:
    """Write `report.json` and `report.html`; `sheets` are captions and files beside the page."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        found=found,
        sheets=sheets,
        most_lines=_MOST_LINES,
        percent=_percent,
        sizes=_sizes,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
