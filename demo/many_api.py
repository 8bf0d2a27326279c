"""Many images as one ZIP, videos frame by frame, and corrected photos as training pairs."""

import csv
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from hfseg.data.video import BoundedVideo, VideoWriter
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import area_shares, index_png, overlay

from .colors import is_background
from .files import new_file, save_photo, stem
from .limits import (
    DECODE_SECONDS,
    MAX_FRAMES,
    MAX_IMAGES,
    MAX_SAM_SIDE,
    MAX_VIDEO_SIDE,
    open_mask,
    open_photo,
)
from .shown_models import ShownModels

_PREVIEW_SECONDS = 0.5


class ManyApi:
    """The endpoints for more than one image."""

    def __init__(self, models: ShownModels) -> None:
        self.models = models

    def batch(self, images: list[gr.FileData], model: str = "") -> Iterator[dict]:
        """Masks (palette PNGs of class ids) and the areas of the classes, as ZIP and CSV."""
        check_count(images, MAX_IMAGES, "images")
        labels = self.models.segmenter(model).labels
        start = time.monotonic()
        archive_path = new_file("masks.zip")
        names = unique_names([stem(each["path"]) for each in images])
        areas: dict[str, dict[int, float]] = {}
        failed = []
        with zipfile.ZipFile(archive_path, "w") as archive:
            for index, (image, name) in enumerate(zip(images, names, strict=True)):
                yield {"doing": f"Segmenting {name}", "part": index / len(images)}
                try:
                    photo, _ = open_photo(image["path"])
                    found, _ = self.models.segment(model, image["path"], photo)
                except UserError as error:
                    failed.append({"name": name, "problem": str(error)})
                    continue
                archive.writestr(f"masks/{name}.png", encoded_mask(found.mask, labels))
                areas[name] = shares(found.mask, labels)
            if not areas:
                raise UserError(f"None of the images could be segmented. {failed[0]['problem']}")
            table = area_table(areas, labels, "image")
            archive.writestr("areas.csv", table)
            archive.writestr("labels.json", json.dumps(labels.to_dict(), indent=1))
        yield {
            "count": len(areas),
            "failed": failed,
            "zip": str(archive_path),
            "csv": _saved(table),
            "seconds": time.monotonic() - start,
            "classes": self._means(areas, model),
        }

    def video(self, video: gr.FileData, model: str = "") -> Iterator[dict]:
        """The video under its classes (WebM), and the areas of the classes in every frame."""
        labels = self.models.labels(model)
        background = [index for index, name in enumerate(labels.names) if is_background(name)]
        start = last = time.monotonic()
        path = new_file("segmented.webm")
        areas: dict[str, dict[int, float]] = {}
        yield {"doing": "Opening the video", "part": 0.0}
        with BoundedVideo(video["path"], MAX_VIDEO_SIDE, MAX_FRAMES, DECODE_SECONDS) as frames:
            info = frames.info
            total = min(info.frames, MAX_FRAMES)
            with VideoWriter(path, (info.width, info.height), info.rate) as writer:
                for index, frame in enumerate(frames):
                    photo = Image.fromarray(frame)
                    found, _ = self.models.segment(model, "", photo)
                    painted = ~np.isin(found.mask, background)[..., None]
                    colored = np.asarray(overlay(photo, found.mask, labels))
                    shown = np.where(painted, colored, frame)
                    writer.write(shown)
                    areas[str(index)] = shares(found.mask, labels)
                    doing = f"Segmenting frame {index + 1}" + (f" of {total}" if total else "")
                    progress: dict[str, Any] = {"doing": doing}
                    progress["part"] = (index + 1) / total if total > index else None
                    if time.monotonic() - last > _PREVIEW_SECONDS or index == 0:
                        last = time.monotonic()
                        progress["frame"] = save_photo(Image.fromarray(shown), "frame")
                    yield progress
        cut = info.frames > MAX_FRAMES or len(areas) == MAX_FRAMES
        note = f"{info.width} × {info.height} pixels, {info.rate:.3g} frames per second."
        yield {
            "video": str(path),
            "csv": _saved(area_table(areas, labels, "frame")),
            "frames": len(areas),
            "seconds": time.monotonic() - start,
            "note": f"{note} Only the first {MAX_FRAMES} frames are segmented here."
            if cut
            else note,
            "classes": self._means(areas, model),
        }

    def training_pairs(
        self, images: list[gr.FileData], masks: list[gr.FileData], model: str = ""
    ) -> dict:
        """Photos and their corrected masks as a ZIP in the layout that `--dataset_name folder`
        reads: images/, masks/ and labels.json."""
        check_count(images, MAX_IMAGES, "pairs")
        if len(images) != len(masks):
            raise UserError(
                f"There are {len(images)} photos but {len(masks)} masks: send one mask per photo."
            )
        labels = self.models.segmenter(model).labels
        path = new_file("training_pairs.zip")
        names = unique_names([stem(each["path"]) for each in images])
        with zipfile.ZipFile(path, "w") as archive:
            for image, mask, name in zip(images, masks, names, strict=True):
                photo, _ = open_photo(image["path"], MAX_SAM_SIDE)
                ids = np.asarray(open_mask(mask["path"]).convert("RGB"))[..., 0]
                if ids.shape != (photo.height, photo.width):
                    raise UserError(
                        f"The mask of {name} has {ids.shape[1]} × {ids.shape[0]} pixels, but "
                        f"the photo {photo.width} × {photo.height}."
                    )
                archive.writestr(f"images/{name}.png", _encoded(photo))
                archive.writestr(f"masks/{name}.png", encoded_mask(ids, labels))
            archive.writestr("labels.json", json.dumps(labels.to_dict(), indent=1))
        return {"file": str(path), "count": len(images)}

    def _means(self, areas: Mapping[str, Mapping[int, float]], model: str) -> list[dict[str, Any]]:
        labels = self.models.labels(model)
        means = {
            index: sum(each.get(index, 0.0) for each in areas.values()) / len(areas)
            for index in range(len(labels))
        }
        return [
            {"name": labels.names[index], "color": list(labels.palette[index]), "share": share}
            for index, share in sorted(means.items(), key=lambda item: -item[1])
            if share > 0
        ]


def check_count(files: Sequence[object], most: int, what: str) -> None:
    """Raise a UserError for none or too many."""
    if not files:
        raise UserError(f"There are no {what}: send at least one.")
    if len(files) > most:
        raise UserError(f"There are {len(files)} {what}, but only {most} are allowed.")


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, numbered where two are alike."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate.lower() in {each.lower() for each in found}:
            candidate = f"{name}_{number}"
            number += 1
        found.append(candidate)
    return found


def shares(mask: np.ndarray, labels: LabelSet) -> dict[int, float]:
    """Fraction of the area by class id."""
    return {index: float(share) for index, share in area_shares(mask, labels).items()}


def area_table(areas: Mapping[str, Mapping[int, float]], labels: LabelSet, first: str) -> str:
    """A CSV of the fraction of every class in every image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([first, *labels.names])
    for name, found in areas.items():
        writer.writerow([name, *(f"{found.get(index, 0):.6f}" for index in range(len(labels)))])
    return text.getvalue()


def encoded_mask(mask: np.ndarray, labels: LabelSet) -> bytes:
    """A palette PNG whose values are the ids."""
    return _encoded(index_png(mask, labels))


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _saved(table: str) -> str:
    path: Path = new_file("areas.csv")
    path.write_text(table, encoding="utf-8")
    return str(path)
