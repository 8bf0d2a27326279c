"""Masks of any encoding become ids here, once, when a dataset is read."""

import functools
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from hfseg.data.decode_limits import TOO_MANY_PIXELS, check_scans
from hfseg.data.image_io import turned
from hfseg.data.orientation import has_orientation
from hfseg.errors import UserError, counted
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

StoredMask = Image.Image | np.ndarray
MaskSource = str | Path | StoredMask

_INDEX_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "LA", "PA")
_LOSSY_FORMATS = ("JPEG", "MPO")
_LARGEST_VALUE = 65535


@dataclass(frozen=True)
class MaskDecoder:
    """Turns one mask into ids: a (H, W) uint8 array with the ignore index where there is no class.

    Args:
        num_labels: ids run from 0 to `num_labels - 1`.
        ids: raw gray or palette value -> id. Empty: a value is its own id.
        colors: RGB color -> id, for masks stored as colors. Empty: colors can't be read.
        rgb_holds_ids: RGB masks have three equal channels that are ids, not colors (`sniff`).
        palette_holds_colors: palette masks mean the colors of their palette, in whatever order
            it lists them, not the indices (`sniff`).

    Both may map values to the ignore index. They are tuples of pairs, not dicts, so that a decoder
    can be hashed into the name of a cached dataset.
    """

    num_labels: int
    ids: tuple[tuple[int, int], ...] = ()
    colors: tuple[tuple[Color, int], ...] = ()
    rgb_holds_ids: bool = False
    palette_holds_colors: bool = False
    ignore_index: int = IGNORE_INDEX

    @classmethod
    def for_labels(
        cls,
        labels: LabelSet,
        ids: Mapping[int, int] | None = None,
        ignored_colors: tuple[Color, ...] = (),
    ) -> "MaskDecoder":
        """A decoder for masks stored as ids (mapped by `ids`) or in the colors of `labels`.

        Where two classes share a color, colors can't be read, only ids.
        """
        colors: dict[Color, int] = {}
        if len({*labels.palette, *ignored_colors}) == len(labels) + len(set(ignored_colors)):
            colors = dict(zip(labels.palette, range(len(labels)), strict=True))
            colors |= dict.fromkeys(ignored_colors, labels.ignore_index)
        return cls(
            num_labels=len(labels),
            ids=tuple(sorted((ids or {}).items())),
            colors=tuple(sorted(colors.items())),
            ignore_index=labels.ignore_index,
        )

    def with_ids(self, ids: Mapping[int, int]) -> "MaskDecoder":
        """This decoder for masks whose raw values mean `ids`, whatever color they have."""
        return replace(self, ids=tuple(sorted(ids.items())), palette_holds_colors=False)

    def sniff(self, sample: Iterable[MaskSource]) -> "MaskDecoder":
        """This decoder, adjusted to how the masks of a dataset are stored.

        RGB masks hold ids where every sampled one is gray and not all grays are known colors.
        Palette masks hold colors where each sampled one can be read that way; where none was
        sampled, if the RGB masks hold colors.
        """
        known = {color for color, _ in self.colors}
        gray_values: set[int] = set()
        palettes_hold_colors: list[bool] = []
        colorful = indexed = False
        for source in sample:
            try:
                image = _opened(source)
            except UserError:  # reported when the sample is read
                continue
            if isinstance(image, np.ndarray) or image.mode in _INDEX_MODES:
                indexed = True
                if isinstance(image, Image.Image) and image.mode == "P":
                    palettes_hold_colors.append(self._ids_by_index(image) is not None)
            elif not colorful:
                pixels = np.asarray(image.convert("RGB"))
                colorful = not (pixels == pixels[..., :1]).all()
                gray_values.update(np.unique(pixels).tolist())
        gray_ids = not colorful and any((v, v, v) not in known for v in gray_values)
        by_color = all(palettes_hold_colors) if palettes_hold_colors else not indexed
        return replace(
            self,
            rgb_holds_ids=gray_ids,
            palette_holds_colors=bool(self.colors) and by_color and not gray_ids,
        )

    def __call__(self, source: MaskSource, name: str = "") -> np.ndarray:
        """Decode a file, an opened image, or an array of values (H, W) or colors (H, W, 3).

        Raises:
            UserError: a file that can't be read, or a value or color that is not a class.
        """
        name = name or str(getattr(source, "filename", "") or source)
        image = _opened(source)
        if isinstance(image, np.ndarray):
            if image.ndim == 3 and image.shape[2] == 3:
                return self._from_colors(image.astype(np.uint8), name)
            if image.ndim != 2:
                raise UserError(
                    f"{name}: a mask must have two dimensions, but this one has {image.ndim}"
                )
            return self._from_values(image.astype(np.int64), name)
        lossy = image.format in _LOSSY_FORMATS
        if has_orientation(image):
            image = turned(image)
        if image.mode == "P" and self.palette_holds_colors:
            ids = self._ids_by_index(image)
            if ids is not None:
                return ids[np.asarray(image)]
            return self._from_colors(np.asarray(image.convert("RGB")), name)
        if image.mode in _INDEX_MODES:
            return self._from_values(_index_values(image), name, lossy)
        pixels = np.asarray(image.convert("RGB"))
        if self.rgb_holds_ids:
            if not (pixels == pixels[..., :1]).all():
                raise UserError(
                    f"{name}: this mask is in color, but others in the dataset hold gray ids; "
                    "save all masks the same way"
                )
            return self._from_values(pixels[..., 0], name, lossy)
        if not self.colors:
            raise UserError(
                f"{name}: the mask has colors, but there is no table with a color for each class; "
                "put a classes.csv or label_colors.txt beside the masks, or save masks as "
                "ids"
            )
        return self._from_colors(pixels, name, lossy)

    def _ids_by_index(self, image: Image.Image) -> np.ndarray | None:
        """(256,) uint8: id by index of a palette mask, or None where a color in use is unknown.

        Programs reorder palettes, so the color decides. A palette in the order of the ids is read
        by index, which also distinguishes an ignored 255 from a black class.
        """
        if not self.colors:
            return None
        used = np.unique(np.asarray(image))
        palette = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        colors = np.zeros((256, 3), dtype=np.uint8)
        colors[: len(palette)] = palette
        by_value = self._value_table()[:256]
        by_color = _color_table(self.colors)[pack_colors(colors)]
        by_color[len(palette) :] = -1
        same = (by_value == by_color) | (by_value == self.ignore_index)
        for ids, readable in ((by_value, same), (by_color, by_color >= 0)):
            if readable[used].all():
                return ids.astype(np.uint8)
        return None

    def _value_table(self) -> np.ndarray:
        """(65536,) int32: id by raw value, -1 where there is none."""
        table = np.full(_LARGEST_VALUE + 1, -1, dtype=np.int32)
        if self.ids:
            raw, ids = zip(*self.ids, strict=True)
            table[list(raw)] = ids
        else:
            table[: self.num_labels] = np.arange(self.num_labels)
        if table[self.ignore_index] < 0:
            table[self.ignore_index] = self.ignore_index
        return table

    def _from_values(self, values: np.ndarray, name: str, lossy: bool = False) -> np.ndarray:
        table = self._value_table()
        outside = (values < 0) | (values > _LARGEST_VALUE)
        decoded = np.where(outside, -1, table[np.where(outside, 0, values)])
        if decoded.min(initial=0) < 0:
            unknown, counts = np.unique(values[decoded < 0], return_counts=True)
            known = _ranges([raw for raw, _ in self.ids] or range(self.num_labels))
            remedy = (
                "it was saved as JPEG, which changes values: export it again as PNG"
                if lossy
                else "name all classes, or fix the mask"
            )
            raise UserError(
                f"{name}: value {unknown[0]} occurs in {counted(counts[0], 'pixel')} but is not a "
                f"class id (the ids are {known}; {self.ignore_index} is ignored); {remedy}"
            )
        return decoded.astype(np.uint8)

    def _from_colors(self, pixels: np.ndarray, name: str, lossy: bool = False) -> np.ndarray:
        packed = pack_colors(pixels)
        decoded = _color_table(self.colors)[packed]
        missing = decoded < 0
        if missing.any():
            unknown, counts = np.unique(packed[missing], return_counts=True)
            worst = int(unknown[counts.argmax()])
            color = (worst >> 16, worst >> 8 & 255, worst & 255)
            if lossy:
                hint = "it was saved as JPEG, which changes colors: export it again as PNG"
            elif len(unknown) > 20:
                hint = "it looks resampled: export it again as PNG without smoothing"
            else:
                hint = "add the color to the class table, or fix the mask"
            raise UserError(
                f"{name}: color {color} occurs in {counted(counts.max(), 'pixel')} but is not in "
                f"the class table ({counted(len(unknown), 'unknown color')} in this mask); {hint}"
            )
        return decoded.astype(np.uint8)


def _ranges(values: Iterable[int]) -> str:
    """[0, 1, 2, 7] -> "0 to 2, 7"."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{a} to {b}" if b > a else str(a) for a, b in runs)


def _opened(source: MaskSource) -> StoredMask:
    return source if isinstance(source, Image.Image | np.ndarray) else open_image(source)


@functools.lru_cache(maxsize=2)
def _color_table(colors: tuple[tuple[Color, int], ...]) -> np.ndarray:
    """(2^24,) int16: packed color -> id, -1 where there is none. 32 MiB, yet far faster."""
    table = np.full(1 << 24, -1, dtype=np.int16)
    table[pack_colors(np.array([color for color, _ in colors], dtype=np.uint8))] = [
        label for _, label in colors
    ]
    return table


def pack_colors(pixels: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) int32: one number per color."""
    wide = pixels.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _index_values(image: Image.Image) -> np.ndarray:
    if image.mode in ("LA", "PA"):
        return np.asarray(image)[..., 0].astype(np.int64)
    return np.asarray(image).astype(np.int64)


def is_lossy(path: str | Path) -> bool:
    """Whether a file is stored in a format that changes values."""
    try:
        with Image.open(path) as image:
            return image.format in _LOSSY_FORMATS
    except Exception:  # decoders raise anything on broken files
        return False


def open_image(source: str | Path | bytes, name: str = "") -> Image.Image:
    """Open and decode an image file or its bytes, which `name` names in messages.

    Raises:
        UserError: a file that can't be read, with its name.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    with unreadable_files_named(name):
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        check_scans(image, name)
        image.load()
    return image


@contextmanager
def unreadable_files_named(name: str) -> Iterator[None]:
    """What Pillow raises for a file that can't be read becomes a `UserError` with its name."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such file") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} {TOO_MANY_PIXELS}: cut it into tiles, or scale it down") from error
    except (UserError, MemoryError):  # of `check_scans`; too little memory is no fault of the file
        raise
    except Exception as error:  # decoders raise anything on broken files
        raise UserError(f"{name}: can't be read as an image ({error}); replace the file") from error


def encode_png(ids: np.ndarray) -> bytes:
    """(H, W) uint8 ids -> the bytes of a mode-L PNG."""
    buffer = io.BytesIO()
    Image.fromarray(ids).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
