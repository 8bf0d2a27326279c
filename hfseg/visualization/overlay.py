"""Images of masks: class colors, overlays on the photo, errors. Only numpy and PIL.

Pixels without a class (`ignore_index`, or any id past the last class) are hatched where there is
room for it, so that they are not mistaken for a black class.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hfseg.errors import UserError
from hfseg.labels import LabelSet

IGNORED_NAME = "ignored"
CORRECT_COLOR = (70, 70, 70)
WRONG_COLOR = (235, 40, 50)

_HATCH_DARK, _HATCH_LIGHT = 24, 110
_ROWS_AT_ONCE = 512  # blended together: large photos would need 60 bytes a pixel at once
_LEGEND_MIN_SIDE = 480  # pixels; smaller images are enlarged, to fit the legend's text


def color_mask(mask: np.ndarray, labels: LabelSet) -> Image.Image:
    """The mask in the colors of its classes.

    Args:
        mask: (H, W) class ids, uint8 or another integer type within 0-255.
        labels: the colors; ids without a class, including 255, become black.

    Returns:
        RGB image of the mask's size.
    """
    return Image.fromarray(labels.color_table()[_checked(mask)])


def index_png(mask: np.ndarray, labels: LabelSet) -> Image.Image:
    """The ids themselves as a palette image (mode P): exact when read back, colored when viewed.

    Args:
        mask: (H, W) class ids.
        labels: the colors of the palette.
    """
    image = Image.fromarray(_checked(mask))
    image.putpalette(labels.color_table().tobytes())
    return image


def overlay(
    image: Image.Image | np.ndarray,
    mask: np.ndarray,
    labels: LabelSet,
    opacity: float = 0.55,
    legend: bool = False,
) -> Image.Image:
    """The photo under the colors of its classes, with thin lines between regions.

    Args:
        image: PIL image or (H, W, 3) / (H, W) uint8 array.
        mask: (H, W) class ids; pixels without a class show the photo, darkened and hatched.
        labels: names and colors.
        opacity: of the colors, 0 (photo only) to 1 (colors only).
        legend: append a legend: color, name and fraction of every class that occurs.

    Returns:
        RGB image of the photo's size. With a legend, which goes below, a small photo is first
        enlarged by an integer factor.

    Raises:
        UserError: image and mask differ in size, or the opacity is not in 0-1.
    """
    mask = _checked(mask)
    photo = _rgb(image)
    if photo.size != mask.shape[::-1]:
        raise UserError(
            f"the image is {photo.width}x{photo.height} pixels, but its mask is "
            f"{mask.shape[1]}x{mask.shape[0]}: resize one of them"
        )
    if not 0 <= opacity <= 1:
        raise UserError(f"opacity must be between 0 and 1, not {opacity}")
    if not legend:
        return _blend(photo, mask, labels, opacity)
    factor = max(1, -(-_LEGEND_MIN_SIDE // max(mask.shape)))
    photo = photo.resize((photo.width * factor, photo.height * factor), Image.Resampling.BICUBIC)
    blended = _blend(photo, mask.repeat(factor, 0).repeat(factor, 1), labels, opacity)
    key = legend_image(area_shares(mask, labels), labels, blended.width)
    joined = Image.new("RGB", (blended.width, blended.height + key.height), "white")
    joined.paste(blended, (0, 0))
    joined.paste(key, (0, blended.height))
    return joined


def error_map(prediction: np.ndarray, truth: np.ndarray, labels: LabelSet) -> Image.Image:
    """Where the prediction is correct (dark gray), wrong (red) and not scored (hatched).

    Args:
        prediction: (H, W) predicted class ids.
        truth: (H, W) ground-truth class ids; ids without a class are not scored.
        labels: defines which ids are classes.

    Raises:
        UserError: the two masks differ in size.
    """
    prediction, truth = _checked(prediction), _checked(truth)
    if prediction.shape != truth.shape:
        raise UserError(
            f"the prediction has shape {prediction.shape}, the ground truth "
            f"{truth.shape}: they must be equal"
        )
    pixels = np.where((prediction == truth)[..., None], CORRECT_COLOR, WRONG_COLOR)
    return Image.fromarray(hatch(pixels.astype(np.uint8), truth >= len(labels)))


def hatch(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Fill part of an image with light diagonals on near-black, the mark of ignored pixels.

    Args:
        pixels: (H, W, 3) uint8, not changed.
        where: (H, W) bool.

    Returns:
        (H, W, 3) uint8.
    """
    hatched = pixels.copy()
    hatched[where] = np.where(_diagonals(where.shape), _HATCH_LIGHT, _HATCH_DARK)[where][:, None]
    return hatched


def area_shares(mask: np.ndarray, labels: LabelSet) -> dict[int, float]:
    """Fraction of the image per class id, largest first; only classes that occur.

    Pixels without a class are counted as `labels.ignore_index`.
    """
    counts = np.bincount(_checked(mask).ravel(), minlength=256)
    shares = {index: counts[index] / counts.sum() for index in range(len(labels)) if counts[index]}
    if ignored := counts[len(labels) :].sum():
        shares[labels.ignore_index] = ignored / counts.sum()
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def legend_image(shares: Mapping[int, float | None], labels: LabelSet, width: int) -> Image.Image:
    """Color, name and fraction of each class in `shares`, in as many columns as fit `width`.

    Args:
        shares: class id (or `ignore_index`) -> fraction of the area (None: not shown), in drawing
            order.
        labels: names and colors.
        width: of the returned RGB image, in pixels; its height follows from the entries.
    """
    size = max(13, width // 56)
    font = _font(size)
    pad, swatch, line = size // 2, size, round(1.6 * size)

    def percent(share: float | None) -> str:
        if share is None:
            return ""
        return f"{share:.0%}" if share >= 0.01 else "<1%"

    def shortened(name: str, room: float) -> str:
        if font.getlength(name) <= room:
            return name
        while name and font.getlength(name + "…") > room:
            name = name[:-1]
        return name.rstrip() + "…"

    share_width = font.getlength("100%")
    fixed = swatch + 3 * pad + share_width  # width of an entry without its name
    names = {
        index: shortened(
            IGNORED_NAME if index == labels.ignore_index else labels.names[index],
            width - 2 * pad - fixed,
        )
        for index in shares
    }
    widest = max((font.getlength(name) for name in names.values()), default=0)
    columns = max(1, min(len(names), int((width - pad) // (widest + fixed))))
    rows = -(-len(names) // columns)
    column_width = min((width - pad) / columns, 1.4 * (widest + fixed))

    canvas = Image.new("RGB", (width, rows * line + 2 * pad), "white")
    draw = ImageDraw.Draw(canvas)
    for position, (index, name) in enumerate(names.items()):
        column, row = divmod(position, rows)
        left, top = pad + round(column * column_width), pad + row * line
        box = (left, top + (line - swatch) // 2)
        canvas.paste(_swatch(index, labels, swatch), box)
        draw.rectangle((*box, box[0] + swatch - 1, box[1] + swatch - 1), outline=(130, 130, 130))
        middle = top + line / 2
        text_left = left + swatch + pad
        draw.text((text_left, middle), name, (20, 20, 20), font, anchor="lm")
        draw.text(
            (text_left + widest + pad, middle),
            percent(shares[index]),
            (110, 110, 110),
            font,
            anchor="lm",
        )
    return canvas


def contours(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbor has another id."""
    edges = np.zeros(mask.shape, dtype=bool)
    edges[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edges[:-1] |= mask[:-1] != mask[1:]
    return edges


def _blend(photo: Image.Image, mask: np.ndarray, labels: LabelSet, opacity: float) -> Image.Image:
    result = np.array(photo)
    edges, stripes = contours(mask), _diagonals(mask.shape)
    for top in range(0, len(mask), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        pixels, ids = result[rows].astype(np.float32), mask[rows]
        blended = (1 - opacity) * pixels + opacity * labels.color_table()[ids].astype(np.float32)
        # white is visible on every class color; blended, so that the lines don't dominate
        lines = edges[rows]
        blended[lines] = 0.35 * blended[lines] + 0.65 * 255
        ignored = ids >= len(labels)
        darkened = np.where(stripes[rows, :, None], 0.35 * pixels + 70, 0.35 * pixels)
        blended[ignored] = darkened[ignored]
        result[rows] = blended.round()
    return Image.fromarray(result)


def _swatch(index: int, labels: LabelSet, size: int) -> Image.Image:
    square = np.full((size, size), index, dtype=np.uint8)
    colors = labels.color_table()[square]
    return Image.fromarray(hatch(colors, square >= len(labels)))


def _diagonals(shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + columns) % 7 < 2


def _checked(mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise UserError(
            f"a mask must be an (H, W) array of class ids, but this one has shape {mask.shape} "
            f"and type {mask.dtype}"
        )
    if mask.size and (mask.min() < 0 or mask.max() > 255):
        raise UserError(
            f"class ids must be between 0 and 255, but this mask contains "
            f"{mask.min()} to {mask.max()}"
        )
    return np.ascontiguousarray(mask, dtype=np.uint8)


def _rgb(image: Image.Image | np.ndarray) -> Image.Image:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.asarray(image))
    return image.convert("RGB")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # PIL's own font lacks accents; matplotlib's has them (found without importing matplotlib)
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None and matplotlib.origin is not None
    fonts = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)
