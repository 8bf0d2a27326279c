"""Image and mask, paired -> a `datasets.Dataset` cached as Arrow."""

import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from hfseg.data.masks import encode_png
from hfseg.data.splits import WHOLE
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.progress import track

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger("hfseg")

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
ON_BAD_SAMPLE = ("stop", "skip")

OnBadSample = str | Callable[[str, list[str], int], None]
"""`stop`; `skip`, which lists in the log what is left out; or a function that is told the split,
the problems and the number of samples."""

Decoder = Callable[[Any], np.ndarray]
"""Turns the mask of a `Pair` into ids, (H, W) uint8."""

# Part of every cache name: raise it when what is stored for the same files changes.
_CACHE_VERSION = 2

# What `Image.convert("RGB")` gets right by itself; 16-bit grey it would cut off at 255.
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True)
class Pair:
    """One sample: the image file, and its mask: a file, or what the data set's decoder takes.

    A mask that is no file has `path` (the file it comes from) and `key` (which part of that).
    """

    image: str
    mask: Any

    @property
    def mask_path(self) -> str:
        return getattr(self.mask, "path", self.mask)


@dataclass(frozen=True)
class Reading:
    """A data set that was found on disk and is not decoded yet."""

    splits: Mapping[str, Sequence[Pair]]
    labels: LabelSet
    decoder: Decoder
    in_time: bool = False
    """Frames of a video: if they have to be divided, then in their order."""


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


def pair_by_stem(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    mask_folder: Path,
    suffixes: Sequence[str] = ("",),
) -> list[Pair]:
    """Every image with the mask of its name, or of its name and one of `suffixes`.

    A mask that is missing becomes the file it should be, and is reported when it is read.
    """
    pairs = []
    for stem, image in images.items():
        found = next((masks[stem + s] for s in suffixes if stem + s in masks), None)
        pairs.append(Pair(str(image), str(found or mask_folder / f"{stem}{suffixes[0]}.png")))
    return pairs


def read_list(path: Path) -> list[str]:
    """The lines of a split file, without blank ones and comments."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; it lists the samples of a split") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def features() -> "datasets.Features":
    """The two columns of every data set: RGB image and mode-L ids."""
    import datasets

    return datasets.Features(
        {"image": datasets.Image(mode="RGB"), "label": datasets.Image(mode="L")}
    )


# ---- building ----


def build_split(
    split: str, pairs: Sequence[Pair], decoder: Decoder, on_bad_sample: OnBadSample = "stop"
) -> "tuple[datasets.Dataset, list[int]]":
    """Decode every mask of a split into ids, and every image once to see that it can be read.

    Images stay the files they are. The result is cached under a name made of the files (path,
    size, time) and the decoder, so that a second call reads it back.

    Args:
        on_bad_sample: `stop` at the first sample that can't be used, or `skip` such samples.

    Returns:
        The columns `image` (RGB) and `label` (mode L), and which of the pairs the rows are.

    Raises:
        UserError: no pairs, an unknown value or colour, or an image and mask of different sizes.
    """
    if not pairs:
        raise UserError(f"the {split} split is empty: no image with a mask was found for it")
    stamps = [
        (p.image, p.mask_path, getattr(p.mask, "key", ""), _stamp(p.image), _stamp(p.mask_path))
        for p in pairs
    ]
    return cached_dataset(
        split,
        _pair_rows,
        {"pairs": list(pairs), "decoder": decoder},
        (stamps, decoder),
        on_bad_sample,
    )


def cached_dataset(
    split: str,
    rows: Callable[..., Iterator[Any]],
    arguments: dict[str, Any],
    identity: Any,
    on_bad_sample: OnBadSample = "stop",
) -> "tuple[datasets.Dataset, list[int]]":
    """`Dataset.from_generator(rows, arguments)`, found again in the cache by `identity`.

    `rows` yields dictionaries with `image` and `label`, or functions that return one. A function
    may raise a `UserError`; with `skip` its sample is then left out and the log says why.
    Returns the data and which of the given rows are in it.
    """
    import datasets
    from datasets.exceptions import DatasetGenerationError
    from datasets.fingerprint import Hasher

    if on_bad_sample not in ON_BAD_SAMPLE and not callable(on_bad_sample):
        raise UserError(f"--on_bad_sample {on_bad_sample!r}: choose {' or '.join(ON_BAD_SAMPLE)}")
    skip = on_bad_sample != "stop"
    columns = {**features(), "problem": datasets.Value("string")}
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        data = datasets.Dataset.from_generator(
            _checked_rows,
            features=datasets.Features(columns),
            gen_kwargs={"rows": rows, "arguments": arguments, "skip": skip, "what": split},
            split=datasets.NamedSplit(split),
            fingerprint=Hasher.hash((split, identity, sorted(arguments), skip, _CACHE_VERSION)),
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
    return without_bad_rows(split, data, on_bad_sample)


def _checked_rows(
    rows: Callable[..., Iterator[Any]], arguments: dict[str, Any], skip: bool, what: str
) -> Iterator[dict[str, Any]]:
    total = len(arguments["pairs"]) if "pairs" in arguments else None
    for row in track(rows(**arguments), f"reading {what}", total):
        try:
            yield {"problem": None, **(row() if callable(row) else row)}
        except UserError as error:
            if not skip:
                raise
            yield {"image": None, "label": None, "problem": str(error)}


def without_bad_rows(
    split: str, data: "datasets.Dataset", on_bad_sample: OnBadSample
) -> "tuple[datasets.Dataset, list[int]]":
    """The rows without a `problem`, and which they are; the others are reported."""
    problems = data["problem"][:]
    good = [index for index, problem in enumerate(problems) if problem is None]
    data = data.remove_columns("problem")
    if len(good) == len(data):
        return data, good
    found = [problem for problem in problems if problem is not None]
    report = on_bad_sample if callable(on_bad_sample) else _log_bad_samples
    report(split, found, len(data))
    if not good:
        what = "data" if split == WHOLE else f"{split} split"
        raise UserError(f"the {what} has no sample that can be used; the first problem: {found[0]}")
    return data.select(good), good


def _log_bad_samples(split: str, problems: list[str], count: int) -> None:
    what = "the data" if split == WHOLE else split
    lines = "".join(f"\n  {problem}" for problem in problems)
    logger.warning("%s: left out %d of %d samples:%s", what, len(problems), count, lines)


def _pair_rows(pairs: list[Pair], decoder: Decoder) -> Iterator[Callable[[], dict[str, Any]]]:
    for pair in pairs:
        yield lambda pair=pair: read_pair(pair, decoder)


def read_pair(pair: Pair, decoder: Decoder) -> dict[str, Any]:
    """One row: the image's file (or its bytes, see `read_image`) and the ids as PNG bytes."""
    if not os.path.isfile(pair.image):
        raise UserError(f"{pair.image}: no such image, but {pair.mask_path} is for it; add it")
    if not os.path.isfile(pair.mask_path):
        raise UserError(f"{pair.image}: no mask {pair.mask_path} for it; add it or leave both out")
    stored, size, orientation = read_image(pair.image, pair.image)
    ids = align(decoder(pair.mask), size, orientation, pair.mask_path, Path(pair.image).name)
    return {"image": stored, "label": {"bytes": encode_png(ids)}}


def read_image(source: str | bytes, name: str) -> tuple[Any, tuple[int, int], int]:
    """Decode an image once; what to store for it, its upright (width, height), its orientation.

    What is stored is the path or bytes as they came, unless the decoder of `datasets` would
    misread them (16-bit grey): then 8-bit PNG bytes.

    Raises:
        UserError: a file that is missing, cut off or no image.
    """
    opened: str | BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(opened) as image:
            width, height = image.size
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            image.draft("L", (width // 8, height // 8))  # JPEG: every byte is read, few pixels made
            image.load()
            stored: Any = {"bytes": source} if isinstance(source, bytes) else source
            if image.mode not in _EIGHT_BIT_MODES:
                stored = {"bytes": encode_png(_to_eight_bits(image, name))}
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such file") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: can't be read as an image ({error}); replace the file") from error
    size = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
    return stored, size, orientation


def _to_eight_bits(image: Image.Image, name: str) -> np.ndarray:
    if image.mode not in _SIXTEEN_BIT_MODES:
        raise UserError(f"{name}: pixels of type {image.mode}; save the image with 8 or 16 bits")
    values = np.asarray(ImageOps.exif_transpose(image)).astype(np.int64)
    return (values.clip(0, 65535) // 257 if values.max(initial=0) > 255 else values).astype(
        np.uint8
    )


def align(
    ids: np.ndarray, size: tuple[int, int], orientation: int, mask_name: str, image_name: str
) -> np.ndarray:
    """The ids in the frame of the upright image.

    A photo whose EXIF data turns it by 90 degrees is shown upright everywhere; a mask that was
    drawn on the unturned pixels has their size, and is turned along.

    Raises:
        UserError: any other difference in size.
    """
    width, height = size
    if ids.shape == (height, width):
        return ids
    if orientation in (5, 6, 7, 8) and ids.shape == (width, height):
        turned = Image.fromarray(ids)
        turned.getexif()[ExifTags.Base.Orientation] = orientation
        return np.asarray(ImageOps.exif_transpose(turned))
    raise UserError(
        f"{mask_name}: the mask is {ids.shape[1]} x {ids.shape[0]} but its image "
        f"{image_name} is {width} x {height}; both must have one size"
    )


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None  # told when the sample is read
    return status.st_size, status.st_mtime_ns
