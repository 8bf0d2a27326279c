"""Image and mask files, paired -> a `datasets.Dataset` cached as Arrow."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image

from hfseg.data.masks import MaskDecoder, encode_png
from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# Part of every cache name: raise it when what is stored for the same files changes.
_CACHE_VERSION = 1


@dataclass(frozen=True)
class Pair:
    """One sample on disk: the image file and its mask file."""

    image: str
    mask: str


def list_images(folder: Path) -> dict[str, Path]:
    """stem -> file, sorted by name, of the image files directly in `folder`."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    by_stem: dict[str, Path] = {}
    for file in files:
        if file.stem in by_stem:
            raise UserError(
                f"{folder}: both {by_stem[file.stem].name} and {file.name} are there; "
                "which one belongs to the mask can't be told, so remove one"
            )
        by_stem[file.stem] = file
    return by_stem


def features() -> "datasets.Features":
    """The two columns of every data set: RGB image and mode-L ids."""
    import datasets

    return datasets.Features(
        {"image": datasets.Image(mode="RGB"), "label": datasets.Image(mode="L")}
    )


def build_split(split: str, pairs: Sequence[Pair], decoder: MaskDecoder) -> "datasets.Dataset":
    """Decode every mask of a split into ids; images stay the files they are.

    The result is cached under a name made of the files (path, size, time) and the decoder, so
    that a second call reads it back. Columns: `image` (RGB), `label` (mode L).

    Raises:
        UserError: no pairs, an unknown value or colour, or an image and mask of different sizes.
    """
    if not pairs:
        raise UserError(f"the {split} split is empty: no image with a mask was found for it")
    stamps = [(p.image, p.mask, _stamp(p.image), _stamp(p.mask)) for p in pairs]
    return cached_dataset(split, _pair_rows, {"pairs": list(pairs), "decoder": decoder}, stamps)


def cached_dataset(
    split: str, rows: Any, arguments: dict[str, Any], identity: Any
) -> "datasets.Dataset":
    """`Dataset.from_generator(rows, arguments)`, found again in the cache by `identity`."""
    import datasets
    from datasets.exceptions import DatasetGenerationError
    from datasets.fingerprint import Hasher

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        return datasets.Dataset.from_generator(
            rows,
            features=features(),
            gen_kwargs=arguments,
            split=datasets.NamedSplit(split),
            fingerprint=Hasher.hash((split, identity, sorted(arguments), _CACHE_VERSION)),
        )
    except DatasetGenerationError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is not None:
            raise UserError(str(cause)) from None
        raise
    finally:
        if shown:
            datasets.enable_progress_bars()


def _pair_rows(pairs: list[Pair], decoder: MaskDecoder) -> Iterator[dict[str, Any]]:
    for pair in pairs:
        yield {"image": pair.image, "label": {"bytes": encode_png(read_mask(pair, decoder))}}


def read_mask(pair: Pair, decoder: MaskDecoder) -> np.ndarray:
    """The ids of one pair's mask, (H, W) uint8, checked against the size of its image."""
    ids = decoder(pair.mask)
    width, height = upright_size(pair.image)
    if ids.shape != (height, width):
        raise UserError(
            f"{pair.mask}: the mask is {ids.shape[1]} x {ids.shape[0]} but its image "
            f"{Path(pair.image).name} is {width} x {height}; both must have one size"
        )
    return ids


def upright_size(path: str) -> tuple[int, int]:
    """(width, height) of an image file as it is shown, EXIF orientation applied."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: can't be read as an image ({error}); replace the file") from error
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    return status.st_size, status.st_mtime_ns
