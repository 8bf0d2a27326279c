"""Photos with an EXIF orientation: were their masks drawn upright, or on the pixels as stored?

Photos are shown upright. Their masks follow these rules:

1. A mask with an EXIF orientation of its own is turned by it and belongs to the upright photo.
2. A photo turned by 90 degrees that is not square shows it: the mask has one size or the other.
3. For others (square, mirrored, turned by 180 degrees) the masks of rule 2 decide for the complete
   dataset. Without any, or if they disagree, masks are taken as drawn on the upright photo. The
   decision is reported.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps

from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets

UPRIGHT, STORED = "upright", "stored"
_SIDEWAYS = (5, 6, 7, 8)


def exif_orientation(image: Image.Image) -> int:
    """1 (upright) to 8, as in the EXIF standard; 1 where there is none."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the parser raises anything on a broken block
        return 1
    return orientation if orientation in range(1, 9) else 1


def has_orientation(source: object) -> bool:
    """Whether an image, opened or a file, is turned by EXIF data of its own."""
    if isinstance(source, str | Path):
        try:
            with Image.open(source) as image:
                return exif_orientation(image) != 1
        except Exception:  # decoders raise anything on broken files
            return False
    return isinstance(source, Image.Image) and exif_orientation(source) != 1


def turned(ids: np.ndarray, orientation: int) -> np.ndarray:
    """Ids drawn on the stored pixels of a photo, in the frame of the upright photo."""
    image = Image.fromarray(ids)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def align(
    ids: np.ndarray,
    mask: object,
    size: tuple[int, int],
    orientation: int,
    name: str,
    image_name: str,
) -> tuple[np.ndarray, str | None]:
    """The ids in the frame of the upright image, as far as one sample can tell.

    Args:
        ids: (H, W) uint8, turned by the mask's own EXIF data.
        mask: the mask itself: a file, an opened image, or something without EXIF data.
        size: (width, height) of the upright image.
        orientation: EXIF orientation of the image.
        name, image_name: for messages.

    Returns:
        The ids, and the frame they were drawn in: `upright`, `stored`, the orientation where the
        size can't tell (the ids are then left as they are), or None without an orientation.

    Raises:
        UserError: image and mask differ in size.
    """
    width, height = size
    shape = (height, width)
    stored = (width, height) if orientation in _SIDEWAYS else shape
    if orientation == 1 or has_orientation(mask):
        if ids.shape == shape:
            return ids, None
    elif ids.shape == shape:
        return ids, UPRIGHT if stored != shape else str(orientation)
    elif ids.shape == stored:
        return turned(ids, orientation), STORED
    raise UserError(
        f"{name}: the mask is {ids.shape[1]} x {ids.shape[0]} but its image "
        f"{image_name} is {width} x {height}; both must have the same size"
    )


def is_open(built: "Mapping[str, datasets.Dataset]") -> bool:
    """Whether there are masks whose size does not tell in which frame they were drawn."""
    return any(
        frame not in (None, UPRIGHT, STORED)
        for rows in built.values()
        for frame in rows.unique("frame")
    )


def settle(
    built: "Mapping[str, datasets.Dataset]",
) -> "tuple[dict[str, datasets.Dataset], list[str]]":
    """Apply rule 3 to all splits; returns them with their masks turned, and what was decided."""
    frames = Counter(frame for rows in built.values() for frame in rows["frame"][:] if frame)
    unsure = sum(n for frame, n in frames.items() if frame not in (UPRIGHT, STORED))
    turn = unsure > 0 and frames[STORED] > 0 and not frames[UPRIGHT]
    found = []
    if frames[STORED]:
        count = frames[STORED] + (unsure if turn else 0)
        found.append(
            f"{count} masks were drawn on photos as stored, not upright: turned as EXIF data says"
        )
    if unsure and not turn:
        found.append(
            f"{unsure} photos have an EXIF orientation that the size of their masks can't confirm: "
            "the masks are read as drawn on the upright photo; look at them with `hfseg inspect`, "
            "and where they are turned save the photos upright (`mogrify -auto-orient`)"
        )
    return {s: _turned_rows(rows) if turn else rows for s, rows in built.items()}, found


def _turned_rows(rows: "datasets.Dataset") -> "datasets.Dataset":
    import datasets
    from datasets.fingerprint import Hasher

    from hfseg.data.masks import encode_png

    def turn(row: dict) -> dict:
        if row["frame"] in (None, UPRIGHT, STORED):
            return {"label": row["label"]}
        return {"label": {"bytes": encode_png(turned(np.asarray(row["label"]), int(row["frame"])))}}

    others = [column for column in rows.column_names if column != "label"]
    labels = rows.select_columns(["label", "frame"]).map(
        turn,
        remove_columns=["frame"],
        features=datasets.Features({"label": rows.features["label"]}),
        new_fingerprint=Hasher.hash((rows._fingerprint, "turned")),
    )
    return datasets.concatenate_datasets([rows.select_columns(others), labels], axis=1)
