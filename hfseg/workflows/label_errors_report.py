"""The output of `hfseg find-label-errors`: tables, a page of crops, and suggested masks."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image, ImageDraw

from hfseg.data.samples import read_example
from hfseg.evaluation.label_quality import JudgedImage, Suspect, with_suggestions
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import index_png, overlay

_SHOWN = 100
"""Regions on the page."""
_MARGIN, _CONTEXT = 0.4, 0.15
"""A crop shows this much around a region: of the region's larger side, but at least of the image's,
since nobody can tell what a few pixels show."""
_PANEL = 280
_TEMPLATE = Path(__file__).with_name("label_errors_template.html")
_REGION_COLUMNS = (
    "image", "split", "left", "top", "right", "bottom", "given", "suggested", "score", "pixels",
)  # fmt: skip


@dataclass(frozen=True)
class LabelErrors:
    """The images, the most suspicious first, and the folder with tables, page and suggestions."""

    images: list[JudgedImage]
    labels: LabelSet
    output_dir: Path


def write_label_errors(found: LabelErrors, rows: Any) -> None:
    """Write label_errors.csv, images.csv, label_errors.html and suggestions/; print the worst.

    Args:
        rows: columns `image` and `label`, by `JudgedImage.index`.
    """
    folder, labels = found.output_dir, found.labels
    folder.mkdir(parents=True, exist_ok=True)
    regions = sorted(
        ((image, suspect) for image in found.images for suspect in image.suspects),
        key=lambda pair: (pair[1].score, -pair[1].pixels),
    )
    _write_csv(
        folder / "images.csv",
        ("image", "split", "score", "loss", "regions"),
        (
            (image.name, image.split, f"{image.score:.6f}", f"{image.loss:.6f}",
             len(image.suspects))
            for image in found.images
        ),
    )  # fmt: skip
    _write_csv(folder / "label_errors.csv", _REGION_COLUMNS, _region_cells(regions, labels))
    _write_suggestions(found, rows)
    _write_page(found, regions, rows)
    images = len({image.index for image, _ in regions})
    print(f"{len(regions)} suspicious regions in {images} of {len(found.images)} images")
    for image, suspect in regions[:5]:
        print(f"- {image.name}: {_sentence(suspect, labels)}")
    print(f"written to {folder}/label_errors.html", flush=True)


def _write_csv(path: Path, head: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(lines)


def _region_cells(
    regions: Sequence[tuple[JudgedImage, Suspect]], labels: LabelSet
) -> Iterable[Sequence[Any]]:
    for image, suspect in regions:
        names = labels.names[suspect.given], labels.names[suspect.suggested]
        score = f"{suspect.score:.6f}"
        yield image.name, image.split, *suspect.box, *names, score, suspect.pixels


def _sentence(suspect: Suspect, labels: LabelSet) -> str:
    given, suggested = labels.names[suspect.given], labels.names[suspect.suggested]
    return (
        f"labeled {given}, looks like {suggested} ({suspect.pixels} pixels at {suspect.box[0]}, "
        f"{suspect.box[1]}; confidence in the label {suspect.score:.2f})"
    )


def _predicted(folder: Path, image: JudgedImage) -> np.ndarray:
    with Image.open(folder / "folds" / "predictions" / f"{image.stem}.png") as mask:
        return np.array(mask)


def _write_suggestions(found: LabelErrors, rows: Any) -> None:
    """In the layout that `--dataset_name folder` reads."""
    folder = found.output_dir / "suggestions"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    found.labels.save(folder / "labels.json")
    for image in found.images:
        if image.suspects:
            pixels, label = read_example(rows, image.index)
            mask = with_suggestions(label, _predicted(found.output_dir, image), image.suspects)
            Image.fromarray(pixels).save(folder / "images" / f"{image.stem}.png")
            index_png(mask, found.labels).save(folder / "masks" / f"{image.stem}.png")


def _write_page(
    found: LabelErrors, regions: Sequence[tuple[JudgedImage, Suspect]], rows: Any
) -> None:
    crops = found.output_dir / "crops"
    crops.mkdir(exist_ok=True)
    shown = []
    for number, (image, suspect) in enumerate(regions[:_SHOWN], start=1):
        pixels, label = read_example(rows, image.index)
        masks = (label, _predicted(found.output_dir, image))
        file = crops / f"{number:03d}.jpg"
        _crop(pixels, masks, suspect, found.labels).save(file, quality=92)
        sentence = _sentence(suspect, found.labels)
        shown.append({"image": image.name, "sentence": sentence, "file": f"crops/{file.name}"})
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        found=found, regions=shown, count=len(regions), worst=found.images[:_SHOWN]
    )
    (found.output_dir / "label_errors.html").write_text(page, encoding="utf-8")


def _crop(
    pixels: np.ndarray, masks: Sequence[np.ndarray], suspect: Suspect, labels: LabelSet
) -> Image.Image:
    """Label, prediction and photo around a region, side by side."""
    left, top, right, bottom = suspect.box
    margin = round(max(_MARGIN * max(right - left, bottom - top), _CONTEXT * max(pixels.shape)))
    above, before = max(0, top - margin), max(0, left - margin)
    box = np.s_[above : bottom + margin, before : right + margin]
    photo = Image.fromarray(pixels[box])
    panels = [*(overlay(photo, mask[box], labels) for mask in masks), photo]
    scale = _PANEL / max(photo.size)
    size = (max(1, round(scale * photo.width)), max(1, round(scale * photo.height)))
    inside = left - before, top - above, right - before, bottom - above
    corners = [scale * each for each in inside]
    strip = Image.new("RGB", (3 * size[0] + 16, size[1]), "white")
    for column, panel in enumerate(panels):
        panel = panel.resize(size, Image.Resampling.BICUBIC)
        outline = ImageDraw.Draw(panel)
        outline.rectangle(corners, outline="black", width=3)
        outline.rectangle(corners, outline="white", width=1)
        strip.paste(panel, (column * (size[0] + 8), 0))
    return strip
