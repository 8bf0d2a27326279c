"""Samples as rows of a `datasets.Dataset`: image, ids, and the facts found while reading them.

Whatever depends on all samples (see `orientation`, `first_aid`) is decided from these facts, so no
file is read twice, and a cached dataset gives the same results as a new one.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from hfseg.data.decode_limits import check_scans
from hfseg.data.image_io import deep_gray_peak, has_eight_bits, upright
from hfseg.data.masks import MaskDecoder, encode_png, open_image, unreadable_files_named
from hfseg.data.orientation import align, exif_orientation
from hfseg.data.specks import count_specks
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX

if TYPE_CHECKING:
    import datasets

Row = dict[str, Any]
"""Column -> value, as `datasets` stores it."""
Decoder = Callable[[Any, str], np.ndarray]
"""Turns a stored mask into ids, (H, W) uint8; the second argument names it in messages."""

# Part of every cache name: raise it when what is stored for the same files changes.
CACHE_VERSION = 6
FACTS = ("problem", "frame", "ids", "pixels", "specks", "look", "peak")
"""Columns beside `image` and `label`: why a sample can't be used, the frame its mask was drawn in
(`orientation.align`), its ids and how many pixels each has, its specks (`count_specks`), a
perceptual hash (`look_of`), and the fraction of its range that deep gray uses."""

_LOOK_SIDE = 8
_FLAT = 2.0


def features() -> "datasets.Features":
    """The two columns of every dataset: RGB image and mode-L ids."""
    import datasets

    return datasets.Features(
        {"image": datasets.Image(mode="RGB"), "label": datasets.Image(mode="L")}
    )


def fact_features() -> "datasets.Features":
    """The columns of `FACTS`."""
    import datasets

    text = datasets.Value("string")
    return datasets.Features(
        {
            "problem": text,
            "frame": text,
            "ids": datasets.List(datasets.Value("uint8")),
            "pixels": datasets.List(datasets.Value("int64")),
            "specks": datasets.Value("int64"),
            "look": text,
            "peak": datasets.Value("float32"),
        }
    )


def read_row(
    source: str | bytes,
    mask: object,
    decoder: Decoder,
    name: str,
    mask_name: str,
    mask_file: bytes | None = None,
) -> Row:
    """One sample as a row: the image's file or bytes (see `ReadImage`), ids as PNG, and the facts.

    Args:
        mask: a file, an opened image, or what the decoder takes.
        mask_file: the file of an opened image.

    Raises:
        UserError: an image or mask that can't be read, or that differ in size.
    """
    image = read_image(source, name)
    beside = "in the same row" if mask_name == name else Path(name).name
    if isinstance(mask, str) and isinstance(decoder, MaskDecoder):
        with unreadable_files_named(mask_name):
            mask_file = Path(mask).read_bytes()
        mask = open_image(mask_file, mask_name)
    ids = decoder(mask, mask_name)
    ids, frame = align(ids, mask, image.size, image.orientation, mask_name, beside)
    return _row(image, ids, frame, mask_file if _is_png_of(ids, mask) else None)


def _is_png_of(ids: np.ndarray, mask: object) -> bool:
    """Whether a mask is already what it would become: a PNG of its ids."""
    return (
        isinstance(mask, Image.Image)
        and mask.format == "PNG"
        and mask.mode == "L"
        and np.array_equal(np.asarray(mask), ids)
    )


def drawn_row(image: bytes, ids: np.ndarray, name: str) -> Row:
    """The row of an image and ids that hfseg drew itself."""
    read = read_image(image, name)
    return _row(replace(read, stored={"path": named(name), "bytes": image}), ids, None)


def _row(image: "ReadImage", ids: np.ndarray, frame: str | None, png: bytes | None = None) -> Row:
    pixels = np.bincount(ids.ravel())
    values = np.flatnonzero(pixels)
    return {
        "image": image.stored,
        "label": {"path": None, "bytes": png or encode_png(ids)},
        "frame": frame,
        "ids": values.astype(np.uint8),
        "pixels": pixels[values],
        "specks": count_specks(ids, IGNORE_INDEX),
        "look": image.look,
        "peak": image.peak,
        "problem": None,
    }


def bad_row(problem: UserError) -> Row:
    """The row of a sample that can't be used."""
    return {"image": None, "label": None, **dict.fromkeys(FACTS), "problem": str(problem)}


@dataclass(frozen=True)
class ReadImage:
    """What decoding an image once revealed.

    Attributes:
        stored: its path, or its bytes and path. Bytes are those of the file, unless the decoder of
            `datasets` would misread them (deep gray): then an 8-bit PNG made as for inference.
        size: upright (width, height).
        orientation: EXIF orientation.
        look: perceptual hash.
        peak: fraction of its range that deep gray uses, or None.
    """

    stored: dict[str, str | bytes | None]
    size: tuple[int, int]
    orientation: int
    look: str | None
    peak: float | None


def read_image(source: str | bytes, name: str) -> ReadImage:
    """Decode an image once.

    Raises:
        UserError: a file that is missing, cut off or not an image.
    """
    opened: str | BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
    stored: dict[str, str | bytes | None] = {"path": None, "bytes": source}
    if isinstance(source, str):
        stored = {"path": source, "bytes": None}
    with unreadable_files_named(name), Image.open(opened) as file:
        check_scans(file, name)
        width, height = file.size
        orientation = exif_orientation(file)
        # JPEG: every byte is read, but only a small image is decoded
        file.draft("L", (max(width // 8, 64), max(height // 8, 64)))
        file.load()
        image: Image.Image = file
        peak = deep_gray_peak(image)
        if not has_eight_bits(image):
            image = upright(image, name)
            stored = {"path": named(name), "bytes": encode_png(np.asarray(image))}
        look = look_of(image)
    size = (height, width) if orientation > 4 else (width, height)
    return ReadImage(stored, size, orientation, look, peak)


def named(path: str | None) -> str | None:
    """The path to store beside bytes, for its name alone.

    `datasets` would drop the bytes and read the file if there were one of that path.
    """
    return None if path is None else f"in-cache/{path.lstrip('/')}"


def look_of(image: Image.Image) -> str | None:
    """A perceptual hash of 128 bits in hexadecimal digits; None for an image without structure.

    The difference hash of Krawetz, "Kind of Like That", hackerfactor.com 2013, in both
    directions: is each cell of an 8 x 8 grid brighter than its right and its lower neighbor?
    """
    side = _LOOK_SIDE + 1
    grid = np.asarray(image.convert("L").resize((side, side), Image.Resampling.BOX), np.int16)
    if grid.std() < _FLAT:
        return None
    across = grid[:-1, 1:] > grid[:-1, :-1]
    down = grid[1:, :-1] > grid[:-1, :-1]
    return np.packbits(np.stack([across, down])).tobytes().hex()


def looks(rows: "datasets.Dataset") -> list[str | None]:
    """`look_of` every image of a dataset."""
    import datasets

    stored = rows.select_columns("image").cast_column("image", datasets.Image(decode=False))
    return [
        read_image(row["image"]["bytes"] or row["image"]["path"], f"image {index}").look
        for index, row in enumerate(stored)
    ]


def file_names(rows: "datasets.Dataset") -> list[str] | None:
    """The file of each image, without reading any; None if some have no name. A stream is read."""
    import datasets
    import pyarrow.compute

    if isinstance(rows, datasets.IterableDataset):
        stored = rows.cast_column("image", datasets.Image(decode=False))
        names = [row["path"] for row in stored["image"]]
        return names if all(names) else None
    if not isinstance(rows, datasets.Dataset):
        return None
    if not isinstance(rows.features["image"], datasets.Image):
        return None
    # not `Dataset.flatten`, which loses the columns of concatenated datasets
    paths = pyarrow.compute.struct_field(rows.data.column("image"), "path")
    if rows._indices is not None:
        paths = paths.take(rows._indices.column(0))
    names = paths.to_pylist()
    return names if all(names) else None


def sample_names(rows: "datasets.Dataset", split: str) -> list[str]:
    """The name of each sample in tables, captions and messages: its file, if it has one.

    Only as much of the path as makes the names differ; without files "train sample 3".
    """
    paths = file_names(rows)
    if paths is None:
        return [f"{split} sample {index}" for index in range(len(rows))]
    names = [PurePath(path).name for path in paths]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath(paths)
    return [PurePath(os.path.relpath(path, common)).as_posix() for path in paths]
