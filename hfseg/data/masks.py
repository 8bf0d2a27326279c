"""Masks of any encoding become ids here, once, when a data set is read."""

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

MaskSource = str | Path | Image.Image

_INDEX_MODES = ("L", "P", "1", "I", "I;16", "LA", "PA")


@dataclass(frozen=True)
class MaskDecoder:
    """Turns one mask into ids: a (H, W) uint8 array with the ignore index where there is no class.

    Args:
        num_labels: ids run from 0 to `num_labels - 1`.
        ids: raw grey or palette value -> id. Empty: a value is its own id.
        colors: RGB colour -> id, for masks stored as colours. Empty: colours can't be read.

    Both maps may send values to the ignore index. Pairs in tuples rather than dicts, so that a
    decoder can be hashed into the name of a cached data set.
    """

    num_labels: int
    ids: tuple[tuple[int, int], ...] = ()
    colors: tuple[tuple[Color, int], ...] = ()
    ignore_index: int = IGNORE_INDEX

    @classmethod
    def for_labels(
        cls,
        labels: LabelSet,
        ids: Mapping[int, int] | None = None,
        ignored_colors: tuple[Color, ...] = (),
    ) -> "MaskDecoder":
        """A decoder for masks stored as ids (mapped by `ids`) or in the colours of `labels`."""
        colors = dict(zip(labels.palette, range(len(labels)), strict=True))
        colors |= dict.fromkeys(ignored_colors, labels.ignore_index)
        return cls(
            num_labels=len(labels),
            ids=tuple(sorted((ids or {}).items())),
            colors=tuple(sorted(colors.items())),
            ignore_index=labels.ignore_index,
        )

    def __call__(self, source: MaskSource, name: str = "") -> np.ndarray:
        """Decode a file or an opened image.

        Raises:
            UserError: a file that can't be read, or a value or colour that is no class.
        """
        name = name or (source.filename if hasattr(source, "filename") else str(source))
        image = open_image(source) if not isinstance(source, Image.Image) else source
        if image.mode in _INDEX_MODES:
            return self._from_values(_index_values(image), name)
        pixels = np.asarray(image.convert("RGB"))
        if not self.colors:
            if (pixels == pixels[..., :1]).all():
                return self._from_values(pixels[..., 0], name)
            raise UserError(
                f"{name}: the mask holds colours but no colour table is known; put a classes.csv "
                "or label_colors.txt beside the masks, or save masks as ids"
            )
        return self._from_colors(pixels, name)

    def _from_values(self, values: np.ndarray, name: str) -> np.ndarray:
        table = np.full(65536, -1, dtype=np.int32)
        if self.ids:
            raw, ids = zip(*self.ids, strict=True)
            table[list(raw)] = ids
        else:
            table[: self.num_labels] = np.arange(self.num_labels)
        if table[self.ignore_index] < 0:
            table[self.ignore_index] = self.ignore_index
        decoded = table[values]
        if decoded.min(initial=0) < 0:
            unknown, counts = np.unique(values[decoded < 0], return_counts=True)
            known = f"0 to {self.num_labels - 1}" if not self.ids else f"{[r for r, _ in self.ids]}"
            raise UserError(
                f"{name}: value {unknown[0]} stands in {counts[0]} pixels but is no class "
                f"(known are {known}, and {self.ignore_index} for ignored); "
                "name all classes, or mend the mask"
            )
        return decoded.astype(np.uint8)

    def _from_colors(self, pixels: np.ndarray, name: str) -> np.ndarray:
        packed = pack_colors(pixels)
        decoded = _color_table(self.colors)[packed]
        missing = decoded < 0
        if missing.any():
            unknown, counts = np.unique(packed[missing], return_counts=True)
            worst = int(unknown[counts.argmax()])
            color = (worst >> 16, worst >> 8 & 255, worst & 255)
            hint = (
                "it looks resampled or saved as JPEG: export it again as PNG without smoothing"
                if len(unknown) > 20
                else "add the colour to the class table, or mend the mask"
            )
            raise UserError(
                f"{name}: colour {color} stands in {counts.max()} pixels but is in no class "
                f"({len(unknown)} unknown colours in this mask); {hint}"
            )
        return decoded.astype(np.uint8)


@functools.lru_cache(maxsize=2)
def _color_table(colors: tuple[tuple[Color, int], ...]) -> np.ndarray:
    """(2^24,) int16: packed colour -> id, -1 where there is none. 32 MiB, yet far faster."""
    table = np.full(1 << 24, -1, dtype=np.int16)
    table[pack_colors(np.array([color for color, _ in colors], dtype=np.uint8))] = [
        label for _, label in colors
    ]
    return table


def pack_colors(pixels: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) int32: one number a colour."""
    wide = pixels.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _index_values(image: Image.Image) -> np.ndarray:
    if image.mode in ("LA", "PA"):
        return np.asarray(image)[..., 0].astype(np.int64)
    values = np.asarray(image).astype(np.int64)
    return values.clip(0, 65535)


def open_image(source: str | Path) -> Image.Image:
    """Open and decode an image file; a file that can't be read is a `UserError` with its name."""
    try:
        image = Image.open(source)
        image.load()
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such file") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{source}: can't be read as an image ({error}); replace the file"
        ) from error
    return image


def encode_png(ids: np.ndarray) -> bytes:
    """(H, W) uint8 ids -> the bytes of a mode-L PNG."""
    buffer = io.BytesIO()
    Image.fromarray(ids).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
