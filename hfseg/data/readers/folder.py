"""A user's own folder of images and masks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from hfseg.data.class_tables import (
    IGNORED_NAMES,
    check_colors_differ,
    holds_colors,
    labels_by_value,
    read_classes_csv,
    read_label_colors,
    read_label_table,
)
from hfseg.data.first_aid import SWAPPED, are_swapped, raw_values, unnamed_values
from hfseg.data.folder_layouts import find_splits
from hfseg.data.label_map import Values, named_by_map
from hfseg.data.masks import MaskDecoder, is_lossy, open_image
from hfseg.data.pairs import Reading
from hfseg.data.readers import ReadOptions
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

INFO = None
CLASS_FILES = (
    "labels.json",
    "id2label.json",
    "classes.txt",
    "label_colors.txt",
    "classes.csv",
    "class_dict.csv",
    "_classes.csv",
)


def read(folder: Path, options: ReadOptions) -> Reading:
    """The pairs of each split (`folder_layouts`), the labels and the decoder of a folder.

    Masks are ids (in gray, palette or equal RGB channels), or RGB with a table of colors. Names
    come from `id2label`, or from one of `CLASS_FILES` in the folder; without one, the values that
    occur are the classes, numbered or named by `label_map`.
    """
    splits = find_splits(folder)
    masks = [pair.mask for pairs in splits.values() for pair in pairs]
    table = Path(options.id2label) if options.id2label else _class_file(folder, masks)
    reading = Reading(splits, LabelSet(("?",)), MaskDecoder(1))
    if table is None:
        if are_swapped(list(reading.look())):
            raise UserError(f"{folder}: {SWAPPED}")
        return _numbered(reading, masks, options.label_map)
    if table.suffix == ".csv":
        return _from_csv(reading, table)
    if table.suffix == ".txt" and (table.name == "label_colors.txt" or holds_colors(table)):
        return _from_colors(reading, read_label_colors(table))
    labels, ids, ignored = read_label_table(table)
    palette = _mask_palette(masks, len(labels)) if not ids else ()
    if palette and table.name != "labels.json":
        labels = LabelSet(labels.names, palette)
    guessed = not ids and table.name != "labels.json"
    decoder = MaskDecoder.for_labels(labels, ids=ids)
    return replace(reading, labels=labels, decoder=decoder, ignored=ignored, guessed=guessed)


def _class_file(folder: Path, masks: Sequence[str]) -> Path | None:
    """In the folder itself, beside the masks, or one folder above them (Roboflow)."""
    beside = Path(masks[0]).parent
    return next(
        (
            place / name
            for place in (folder, beside, beside.parent)
            for name in CLASS_FILES
            if (place / name).is_file()
        ),
        None,
    )


def _from_colors(reading: Reading, entries: Sequence[tuple[str, Color]]) -> Reading:
    classes = [(name, color) for name, color in entries if name.lower() not in IGNORED_NAMES]
    ignored = [(name, color) for name, color in entries if name.lower() in IGNORED_NAMES]
    labels = LabelSet(tuple(n for n, _ in classes), tuple(c for _, c in classes))
    decoder = MaskDecoder.for_labels(labels, ignored_colors=tuple(color for _, color in ignored))
    return replace(
        reading, labels=labels, decoder=decoder, ignored=tuple(name for name, _ in ignored)
    )


def _from_csv(reading: Reading, path: Path) -> Reading:
    rows = read_classes_csv(path)
    entries: list[tuple[str, Color]] = []
    try:
        if {"r", "g", "b"} <= rows[0].keys():
            name = next(key for key in ("name", "class", "label") if key in rows[0])
            entries = [(row[name], (int(row["r"]), int(row["g"]), int(row["b"]))) for row in rows]
        else:
            values = {int(row["pixel value"]): row["class"] for row in rows}
    except (KeyError, ValueError, StopIteration) as error:
        raise UserError(
            f"{path}: expected the columns `name,r,g,b` or `Pixel Value, Class`"
        ) from error
    if entries:
        check_colors_differ(path, entries)
        return _from_colors(reading, entries)
    labels, ids, ignored = labels_by_value(values)
    decoder = MaskDecoder.for_labels(labels, ids=ids)
    return replace(reading, labels=labels, decoder=decoder, ignored=ignored, guessed=not ids)


def _numbered(reading: Reading, masks: Sequence[str], label_map: Values) -> Reading:
    """Without a table of classes, the values that occur in the masks are the classes."""
    found: set[int] = set()
    first_error: UserError | None = None
    for mask in masks:
        try:
            if is_lossy(mask):
                raise UserError(
                    f"{mask}: saved as JPEG, which changes values, and no table lists the "
                    "classes; export the masks as PNG"
                )
            values = raw_values([open_image(mask)])
            if not values:
                raise UserError(
                    f"{mask}: the mask has colors, but there is no table of them; put a "
                    "classes.csv or label_colors.txt into the data folder, or save masks as ids"
                )
            found |= values
        except UserError as error:  # reported when the sample is read, unless all are bad
            first_error = first_error or error
    if first_error and (not found or is_lossy(masks[0])):
        raise first_error
    if label_map:
        labels, ids, ignored = labels_by_value(named_by_map(found - {IGNORE_INDEX}, label_map))
        decoder = MaskDecoder.for_labels(labels, ids=ids)
        return replace(reading, labels=labels, decoder=decoder, ignored=ignored)
    unnamed_values(Path(masks[0]).parent, found)
    count = max(found - {IGNORE_INDEX}) + 1
    if count > IGNORE_INDEX:
        raise UserError(
            f"{Path(masks[0]).parent}: a mask contains {count - 1}, but ids run from 0 to "
            f"{IGNORE_INDEX - 1}; put a classes.csv with the columns `Pixel Value, Class` there"
        )
    labels = LabelSet.numbered(count, _mask_palette(masks, count))
    return replace(reading, labels=labels, decoder=MaskDecoder(num_labels=count))


def _mask_palette(masks: Sequence[str], count: int) -> tuple[Color, ...]:
    """The colors of a palette PNG, if it has enough different ones."""
    try:
        mask: Image.Image = open_image(masks[0])
    except UserError:  # reported when the sample is read
        return ()
    if mask.mode != "P":
        return ()
    flat = mask.getpalette() or []
    channels = (flat[start : 3 * count : 3] for start in range(3))
    colors = tuple(zip(*channels, strict=False))
    return colors if len(set(colors)) == count else ()
