"""The page as a web API: `/segment`, `/segment_everything`, `/refine` and `/health`.

README.md beside this file shows them through `gradio_client` and curl.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam import SamMasks, refine_by_prompts, refine_by_votes
from hfseg.visualization.overlay import area_shares, index_png, overlay

from .files import file_data, save_photo, save_png, stem
from .limits import MAX_SAM_SIDE, check_number_of_points, open_photo, own_size
from .sam_work import everything, object_at, timed, with_object
from .shown_models import ShownModels
from .tab import ON_DEVICE

METHODS = ("votes", "boxes", "points")
OUTPUTS = {
    "segment": ("mask", "overlay", "summary"),
    "segment_everything": ("masks", "summary"),
    "refine": ("mask", "overlay", "summary"),
    "health": ("health",),
}
"""What each endpoint returns, by the names that clients are shown."""


class WebApi:
    """The documented endpoints.

    gradio shows their docstrings and types at /gradio_api/info and in its client's `view_api()`.
    """

    def __init__(self, models: ShownModels) -> None:
        self.models = models

    def segment(
        self, image: gr.FileData, model: str = "", opacity: float = 0.55
    ) -> tuple[gr.FileData, gr.FileData, dict]:
        """The class of every pixel.

        Returns the mask (a palette PNG whose values are class ids), the overlay (JPEG), and the
        classes that occur with their fraction of the area. `model` is a name listed by /health;
        empty: the first one.
        """
        path = image["path"]
        check_opacity(opacity)
        photo, note = open_photo(path)
        found, took = self.models.segment(model, path, photo)
        summary = {
            "model": model or self.models.names[0],
            "width": found.mask.shape[1],
            "height": found.mask.shape[0],
            "seconds": round(took, 4),
            "classes": areas(found.mask, found.labels),
            "note": note,
        }
        return (*mask_and_overlay(path, found.image, found.mask, found.labels, opacity), summary)

    def segment_everything(
        self, image: gr.FileData, points_per_side: int = 16
    ) -> tuple[gr.FileData, dict]:
        """All masks that SAM finds, without classes.

        Returns a 16-bit PNG of mask numbers (0 without a mask, smaller masks on top), and for each
        number the area in pixels, the box (left, top, right, bottom) and the predicted IoU.
        """
        path = image["path"]
        density = whole_number(points_per_side, "points_per_side")
        photo, note = open_photo(path, MAX_SAM_SIDE)
        run = self.models.device.run
        predictor = run(self.models.sam)
        masks, took = run(timed, lambda: everything(predictor, photo, density))
        numbers, listed = numbered(masks)
        picture = Image.fromarray(numbers)
        summary = {
            "sam": self.models.sam_name,
            "width": photo.width,
            "height": photo.height,
            "seconds": round(took, 4),
            "masks": listed,
            "note": note,
        }
        return file_data(save_png(picture, f"{stem(path)}_masks")), summary

    def refine(
        self, image: gr.FileData, model: str = "", method: str = "votes",
        points: list | None = None, opacity: float = 0.55,
    ) -> tuple[gr.FileData, gr.FileData, dict]:  # fmt: skip
        """The model's mask with SAM's boundaries.

        `method`: `votes` (each of SAM's masks gets the class of most of its pixels), `boxes`
        (SAM is prompted with each region of the mask), or `points` (the object at `points`, a
        list of [x, y, label] in pixels of the image with label 1 on the object and 0 outside,
        gets the class of most of its pixels). Returns mask, overlay and summary like /segment.
        """
        if method not in METHODS:
            raise UserError(f"Unknown method {method!r}: choose from {', '.join(METHODS)}.")
        path = image["path"]
        check_opacity(opacity)
        asked = checked_points(points) if method == "points" else []
        photo, note = open_photo(path, MAX_SAM_SIDE)
        run = self.models.device.run
        predictor = run(self.models.sam)
        found, _ = self.models.segment(model, path, photo)
        extra: dict[str, object] = {}

        def work() -> np.ndarray:
            if method == "boxes":
                return refine_by_prompts(predictor, photo, found.mask, found.labels)
            if method == "votes":
                masks = predictor.segment_everything(photo, points_per_side=16)
                return refine_by_votes(masks, found.mask)
            mask, score = object_at(self.models, photo, as_fractions(asked, own_size(path)))
            refined, class_id = with_object(found.mask, mask)
            extra.update(object=found.labels.names[class_id], predicted_iou=round(score, 4))
            return refined

        mask, took = run(timed, work)
        summary = {
            "model": model or self.models.names[0],
            "sam": self.models.sam_name,
            "method": method,
            "width": photo.width,
            "height": photo.height,
            "seconds": round(took, 4),
            "changed": float(np.mean(mask != found.mask)),
            "classes": areas(mask, found.labels),
            "note": note,
            **extra,
        }
        return (*mask_and_overlay(path, photo, mask, found.labels, opacity), summary)

    def health(self) -> dict:
        """Whether the page is up, and what it shows."""
        return {
            "status": "ok",
            "models": {
                name: list(segmenter.labels.names)
                for name, segmenter in self.models.segmenters.items()
            },
            "sam": self.models.sam_name,
        }

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        """The functions, and how gradio queues them."""
        return {
            self.segment: ON_DEVICE,
            self.segment_everything: ON_DEVICE,
            self.refine: ON_DEVICE,
            self.health: {"queue": False},  # it answers even when the queue is full
        }


def checked_points(points: object) -> list[tuple[float, float, int]]:
    """The points that a client sent.

    Raises:
        UserError: none, too many, or invalid ones.
    """
    if not isinstance(points, list) or not points:
        raise UserError(
            "The method points needs a list of points [x, y, label], with label 1 or 0."
        )
    check_number_of_points(points)
    for point in points:
        if (
            not isinstance(point, list)
            or len(point) != 3
            or not all(isinstance(value, int | float) for value in point)
            or not all(math.isfinite(value) for value in point)
            or point[2] not in (0, 1)
        ):
            raise UserError(
                "A point must be [x, y, label], with x and y in pixels, and label 1 on the object "
                "or 0 outside."
            )
    if not any(point[2] for point in points):
        raise UserError("At least one point must be on the object: [x, y, 1].")
    return [(x, y, int(label)) for x, y, label in points]


def as_fractions(
    points: Sequence[tuple[float, float, int]], size: tuple[int, int]
) -> list[tuple[float, float, int]]:
    """Points in pixels as fractions of the (width, height) of the image.

    Raises:
        UserError: a point is outside the image.
    """
    found = [(x / size[0], y / size[1], label) for x, y, label in points]
    if any(not (0 <= x <= 1 and 0 <= y <= 1) for x, y, _ in found):
        raise UserError(f"A point is outside the image of {size[0]} × {size[1]} pixels.")
    return found


def check_opacity(opacity: float) -> None:
    if not 0 <= opacity <= 1:
        raise UserError("The opacity must be from 0 to 1.")


def whole_number(value: float, name: str) -> int:
    if value != round(value):
        raise UserError(f"{name} must be a whole number.")
    return int(value)


def areas(mask: np.ndarray, labels: LabelSet) -> list[dict[str, object]]:
    """The classes that occur, the largest first."""
    return [
        {"id": index, "name": labels.names[index], "share": round(float(share), 6)}
        for index, share in area_shares(mask, labels).items()
        if index < len(labels)
    ]


def numbered(masks: SamMasks) -> tuple[np.ndarray, list[dict[str, object]]]:
    """SAM's masks as (H, W) uint16 numbers from 1, the largest mask first, and a list of them."""
    numbers = np.zeros(masks.masks.shape[1:], dtype=np.uint16)
    order = np.argsort(-masks.masks.sum(axis=(1, 2)), kind="stable")
    listed = []
    for number, index in enumerate(order, start=1):
        mask = masks.masks[index]
        numbers[mask] = number
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        listed.append(
            {
                "number": number,
                "area": int(mask.sum()),
                "box": [int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])],
                "predicted_iou": round(float(masks.scores[index]), 4),
            }
        )
    return numbers, listed


def mask_and_overlay(
    path: str, photo: Image.Image, mask: np.ndarray, labels: LabelSet, opacity: float
) -> tuple[dict[str, object], dict[str, object]]:
    return (
        file_data(save_png(index_png(mask, labels), f"{stem(path)}_mask")),
        file_data(save_photo(overlay(photo, mask, labels, opacity), f"{stem(path)}_overlay")),
    )
