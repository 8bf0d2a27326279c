"""Many images as one ZIP, and videos frame by frame."""

import csv
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from hfseg.data.video import BoundedVideo, VideoWriter
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import area_shares, index_png, overlay

from ..colors import is_background
from ..files import encoded, new_file, save_photo, stem, unique_names
from ..limits import (
    DECODE_SECONDS,
    MAX_FRAMES,
    MAX_IMAGES,
    MAX_VIDEO_SIDE,
    check_count,
    open_photo,
)
from ..tab import FRAME_BY_FRAME, Tab

_PREVIEW_SECONDS = 0.5


class Many(Tab):
    name, label = "many", "Batch & video"

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        return {self.batch: FRAME_BY_FRAME, self.video: FRAME_BY_FRAME}

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
                mask = encoded(index_png(found.mask, labels))
                archive.writestr(f"masks/{name}.png", mask)
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
        """The video with its classes (WebM), and the areas of the classes in every frame."""
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


def _saved(table: str) -> str:
    path: Path = new_file("areas.csv")
    path.write_text(table, encoding="utf-8")
    return str(path)
