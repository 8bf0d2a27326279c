"""Any image -> an upright 8-bit RGB image, in the same way in training and inference."""

import contextlib
import io
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from hfseg.data.decode_limits import TOO_MANY_PIXELS, check_scans
from hfseg.errors import UserError

ImageLike = Image.Image | np.ndarray | str | Path
SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""What counts as an image in a folder."""

# Every other mode is read wrongly or not at all by Pillow's `convert("RGB")`.
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_TIFF_BITS_PER_SAMPLE = 258
_URL_PREFIXES = ("http://", "https://")
_URL_SECONDS = 30
_URL_BYTES = 1 << 28
_PIXEL_LIMIT = threading.Lock()
_T = TypeVar("_T")
_R = TypeVar("_R")


def to_rgb(image: ImageLike, any_size: bool = False) -> Image.Image:
    """Read one image as people see it.

    Args:
        image: a PIL image of any mode, a (H, W, 3) uint8 RGB array, the path of an image file, or
            a string that begins with http:// or https://. The EXIF orientation is applied. Gray,
            palette, CMYK and alpha become RGB (alpha is dropped, as `transformers` and `datasets`
            do); gray of more than 8 bits is scaled by the depth of its format (`gray_range`).
        any_size: also open files of more pixels than Pillow's limit, 179 million. Only for files
            that you trust: a small file may unpack to more than the memory holds.

    Returns:
        A PIL image of mode RGB, at the image's own (upright) size.

    Raises:
        UserError: a file or address that is missing, is not an image or has too many pixels, an
            array of another shape or dtype, or a mode without a defined conversion (floating
            point).
    """
    if isinstance(image, str) and image.startswith(_URL_PREFIXES):
        return _opened(io.BytesIO(_download(image)), image, any_size)
    if isinstance(image, (str, Path)):
        return _opened(Path(image), str(image), any_size)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _convert(image, "the image")
    raise UserError(
        f"an image must be a PIL image, a NumPy array or a path, not {type(image).__name__}"
    )


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes an EXIF orientation (CIPA DC-008, 4.6.5)."""


def turned(image: Image.Image) -> Image.Image:
    """The image turned by its EXIF orientation; unchanged if that can't be read.

    `ImageOps.exif_transpose` also rewrites the rest of the block, and fails where that is broken.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the parser raises anything on a broken block
        turn = None
    return image if turn is None else image.transpose(turn)


def image_files(folder: str | Path, others: Collection[str] = ()) -> list[Path]:
    """The images in a folder and the folders in it, by name; hidden ones are left out.

    Args:
        others: suffixes of files that count too, such as `hfseg.data.video.SUFFIXES`.

    Raises:
        UserError: there is no image.
    """
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(root, name)
            for name in files
            if (Path(name).suffix.lower() in SUFFIXES or Path(name).suffix.lower() in others)
            and not name.startswith(".")
        ]
    if not found:
        raise UserError(f"the folder {folder} contains no images ({', '.join(sorted(SUFFIXES))})")
    return sorted(found)


def read_ahead(
    items: Iterable[_T], read: Callable[[_T], _R], ahead: int = 2
) -> Iterator[tuple[_T, Callable[[], _R]]]:
    """Read the next items in a thread while this one is processed.

    Yields:
        each item, and a function that returns the result of `read`, or raises its error.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: list[tuple[_T, Future[_R]]] = []
        for item in items:
            waiting.append((item, thread.submit(read, item)))
            if len(waiting) > ahead:
                first, future = waiting.pop(0)
                yield first, future.result
        for first, future in waiting:
            yield first, future.result


def _download(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "hfseg"})
    try:
        with urllib.request.urlopen(request, timeout=_URL_SECONDS) as answer:
            data = answer.read(_URL_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UserError(f"{url} cannot be downloaded ({error}): check the address") from None
    if len(data) > _URL_BYTES:
        raise UserError(f"{url} is larger than {_URL_BYTES >> 20} MiB: download it first")
    return data


def _opened(file: Path | io.BytesIO, name: str, any_size: bool) -> Image.Image:
    limit = _no_pixel_limit() if any_size else contextlib.nullcontext()
    try:
        with limit, Image.open(file) as image:
            check_scans(image, name)
            return _convert(image, name)
    except FileNotFoundError:
        raise UserError(f"there is no image file {name}: check the path") from None
    except UnidentifiedImageError:
        raise UserError(
            f"{name} is not an image that Pillow can read: save it as PNG or JPEG"
        ) from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{name} {TOO_MANY_PIXELS}: predict it with --sliding_window, which takes any size, or "
            "scale it down"
        ) from None
    except (UserError, MemoryError):  # too little memory is no fault of the file
        raise
    except Exception as error:  # decoders raise anything on broken files
        raise UserError(
            f"{name} cannot be read as an image ({error}): save or copy it again"
        ) from None


@contextlib.contextmanager
def _no_pixel_limit() -> Iterator[None]:
    """Pillow has one limit for the whole process, and reads it again when a TIFF is loaded."""
    with _PIXEL_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise UserError(
            f"an image array must be (height, width, 3) uint8, not {array.shape} {array.dtype}"
        )
    return Image.fromarray(array)


def _convert(image: Image.Image, what: str) -> Image.Image:
    image = upright(image, what)
    if "transparency" in image.info:
        # a palette may carry its own alpha; by way of RGBA it is dropped without a warning
        image = image.convert("RGBA")
    return image.convert("RGB")


def has_eight_bits(image: Image.Image) -> bool:
    """Whether `convert("RGB")`, which `datasets` and `transformers` use, reads the image right."""
    return image.mode in _EIGHT_BIT_MODES


def gray_range(image: Image.Image) -> int:
    """The largest value that the file format of a deep gray image can hold: 65535 for 16 bits.

    The depth of the format decides, not the values of one image: the same file is read alike in
    training and in inference, and the images of a dataset keep their relative brightness.
    """
    bits = (getattr(image, "tag_v2", None) or {}).get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
    return (1 << min(int(bits), 16)) - 1


def deep_gray_peak(image: Image.Image) -> float | None:
    """The fraction of its range that a deep gray image uses; None for other images."""
    if not image.mode.startswith("I"):
        return None
    return float(np.asarray(image).max(initial=0)) / gray_range(image)


def upright(image: Image.Image, what: str) -> Image.Image:
    """The image turned by its EXIF orientation, deep gray scaled to mode L by `gray_range`.

    Raises:
        UserError: a mode without a defined conversion to 8 bits, such as floating point.
    """
    if has_eight_bits(image):
        return turned(image)
    if not image.mode.startswith("I"):
        raise UserError(
            f"{what} has {'floating-point' if image.mode == 'F' else image.mode} pixels without a "
            "defined range: save it with 8 or 16 bits"
        )
    largest = gray_range(image)
    # convert("RGB") would clip at 255 and show nearly everything white
    values = np.asarray(turned(image)).astype(np.float64).clip(0, largest)
    return Image.fromarray(np.rint(values * (255 / largest)).astype(np.uint8))
