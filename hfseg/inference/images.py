"""Whatever a user calls an image -> an upright 8-bit RGB picture."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hfseg.errors import UserError

ImageLike = Image.Image | np.ndarray | str | Path


def to_rgb(image: ImageLike) -> Image.Image:
    """Read one image as people see it.

    Args:
        image: a PIL image of any mode, a (H, W, 3) uint8 RGB array, or the path of an image file.
            The EXIF orientation is applied. Grey, palette, CMYK and alpha become RGB (alpha is
            dropped, as `transformers` and `datasets` do); 16-bit grey is scaled to 8 bits.

    Returns:
        A PIL image of mode RGB, at the image's own (upright) size.

    Raises:
        UserError: a file that is missing or is not an image, an array of another shape or dtype,
            or a mode without a defined conversion (floating point).
    """
    if isinstance(image, (str, Path)):
        return _read_file(Path(image))
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _convert(image, "the image")
    raise UserError(
        f"an image must be a PIL image, a NumPy array or a path, not {_type_name(image)}"
    )


def _read_file(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return _convert(image, str(path))
    except FileNotFoundError:
        raise UserError(f"there is no image file {path}") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image that Pillow can read") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path} has too many pixels to be opened safely: scale it down") from None
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for some broken PNGs
        raise UserError(f"{path} cannot be read as an image: {error}") from None


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise UserError(
            f"an image array must be (height, width, 3) uint8, not {array.shape} {array.dtype}"
        )
    return Image.fromarray(array)


def _convert(image: Image.Image, what: str) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # convert("RGB") would clip 16 bits at 255 and show nearly everything white
        values = np.asarray(image).astype(np.float64).clip(0, 65535)
        return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UserError(
            f"{what} has floating-point pixels without a defined range: save it with 8 or 16 bits"
        )
    if "transparency" in image.info:
        # a palette may carry its own alpha; by way of RGBA it is dropped without a warning
        image = image.convert("RGBA")
    try:
        return image.convert("RGB")
    except ValueError:
        raise UserError(
            f"{what} has the colour mode {image.mode}, which has no conversion to RGB"
        ) from None


def _type_name(value: Any) -> str:
    return type(value).__name__
