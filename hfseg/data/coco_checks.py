"""Whether COCO JSON is what it claims to be, before pycocotools draws it in C."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from hfseg.errors import UserError

_TEXT_OR_NUMBER = (str, int)
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "images": {
        "id": _TEXT_OR_NUMBER, "file_name": (str,), "height": (int,), "width": (int,)
    },
    "annotations": {"image_id": _TEXT_OR_NUMBER, "category_id": _TEXT_OR_NUMBER},
    "categories": {"id": _TEXT_OR_NUMBER, "name": _TEXT_OR_NUMBER},
}  # fmt: skip
"""The types of what is read; a float such as 480.0 counts as an integer."""

_FAR_OUTSIDE = 16
"""Multiples of the longer side of the image; pycocotools walks along every edge pixel by pixel."""


def check_content(content: object, path: Path) -> None:
    """Raise a UserError if entries or their fields are missing or of another type."""
    if not isinstance(content, dict):
        raise UserError(f"{path}: not COCO JSON: expected an object")
    for part, wanted in _FIELDS.items():
        if part not in content:
            raise UserError(f"{path}: not COCO JSON: {part!r} is missing")
        entries = content[part]
        if not isinstance(entries, list):
            raise UserError(f"{path}: not COCO JSON: {part!r} is not a list")
        for index, entry in enumerate(entries):
            wrong = _wrong_field(entry, wanted)
            if wrong is not None:
                raise UserError(f"{path}: not COCO JSON: in {part}[{index}], {wrong}")
    for image in content["images"]:
        _check_size(image, path)
    if len({isinstance(entry["id"], str) for entry in content["categories"]}) > 1:
        raise UserError(f"{path}: some category ids are numbers and others strings; use numbers")


def _wrong_field(entry: object, wanted: dict[str, tuple[type, ...]]) -> str | None:
    if not isinstance(entry, dict):
        return f"expected an object, not {str(entry)[:40]!r}"
    for key, types in wanted.items():
        if key not in entry:
            return f"{key!r} is missing"
        value = entry[key]
        whole = isinstance(value, float) and value.is_integer() and int in types
        if isinstance(value, bool) or not (isinstance(value, types) or whole):
            return f"{key!r} is {str(value)[:40]!r}"
    return None


def _check_size(image: dict, path: Path) -> None:
    height, width = int(image["height"]), int(image["width"])
    most = 2 * (Image.MAX_IMAGE_PIXELS or 1 << 62)  # as Pillow refuses to open more
    if height < 1 or width < 1 or height * width > most:
        raise UserError(
            f"{path}: {image['file_name']!r} is listed as {width} x {height} pixels; correct its "
            "width and height"
        )


def check_counts(counts: Sequence[object], pixels: int) -> None:
    """Raise a ValueError if run lengths don't cover an image exactly."""
    if any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in counts):
        raise ValueError("a length is not a whole number")
    covered = sum(each for each in counts if isinstance(each, int))
    if covered != pixels:
        raise ValueError(f"they cover {covered} of {pixels} pixels")


def check_polygons(rings: Sequence[object], side: int, where: str) -> None:
    """Raise a UserError for a ring of too few points, or with a point far outside the image.

    Args:
        side: the longer side of the image, in pixels.
    """
    for ring in rings:
        numbers = isinstance(ring, list) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in ring
        )
        if not numbers or not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
            raise UserError(
                f"{where}: a polygon needs at least three points x, y; this one is {str(ring)[:60]}"
            )
        far = [v for v in ring if abs(v) > _FAR_OUTSIDE * (side + 16) or not math.isfinite(v)]
        if far:
            raise UserError(
                f"{where}: a polygon has the coordinate {str(far[0])[:20]}, far outside the image; "
                "correct it, or remove the annotation"
            )
