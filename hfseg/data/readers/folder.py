"""A user's own folder of images and masks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hfseg.data.class_tables import (
    IGNORED_NAMES,
    labels_by_value,
    read_classes_csv,
    read_label_colors,
    read_label_table,
)
from hfseg.data.masks import MaskDecoder, is_lossy, open_image
from hfseg.data.pairs import Pair, Reading, list_images, pair_by_stem
from hfseg.data.splits import SPLIT_ALIASES, WHOLE
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

IMAGE_FOLDERS = ("images", "image", "img", "imgs")
MASK_FOLDERS = ("masks", "mask", "labels", "annotations", "labelmaps")
MASK_STEM_SUFFIXES = ("", "_mask", "_label", "_L")
CLASS_FILES = (
    "labels.json",
    "id2label.json",
    "classes.txt",
    "label_colors.txt",
    "classes.csv",
    "_classes.csv",
)
_SNIFFED = 16


def read(folder: Path, id2label: str | None = None) -> Reading:
    """The pairs of each split, the labels and the decoder of a folder.

    Layouts: `train/images train/masks validation/... [test/...]`; `images/train masks/train ...`;
    one `images/ masks/` pair, left undivided; or, in place of the two folders, images and
    their masks `NAME_mask.png` side by side, as Roboflow exports them.

    Masks are ids (in grey, palette or equal RGB channels), or RGB with a `label_colors.txt` or
    `classes.csv`. Names come from `id2label`, or one of `labels.json`, `id2label.json`,
    `classes.txt`, `label_colors.txt`, `classes.csv` in the folder; without one the classes are
    numbered.
    """
    splits = dict(_split_folders(folder)) or {WHOLE: _pairs(folder)}
    every = [pair.mask for pairs in splits.values() for pair in pairs]
    labels, decoder = _labels(folder, every, id2label)
    return Reading(splits, labels, decoder.sniff(every[:: max(1, len(every) // _SNIFFED)]))


def _split_folders(folder: Path) -> Iterator[tuple[str, list[Pair]]]:
    images, masks = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
    for split, aliases in SPLIT_ALIASES.items():
        for alias in aliases:
            if (folder / alias).is_dir():
                yield split, _pairs(folder / alias)
                break
            if images and masks and (images / alias).is_dir() and (masks / alias).is_dir():
                yield split, _paired(images / alias, masks / alias)
                break


def _pairs(folder: Path) -> list[Pair]:
    images, masks = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
    if images and masks:
        return _paired(images, masks)
    files = list_images(folder)
    suffix = next((s for s in MASK_STEM_SUFFIXES[1:] if any(f.endswith(s) for f in files)), None)
    if suffix is None:
        hint = (
            "; it holds COCO annotations, so use --dataset_name coco"
            if any(folder.rglob("*.coco.json"))
            else f"; expected {IMAGE_FOLDERS[0]}/ and {MASK_FOLDERS[0]}/, or train/ and "
            "validation/ with these inside"
        )
        raise UserError(f"{folder}: no folder {IMAGE_FOLDERS[0]}/ in it{hint}")
    images_only = {stem: file for stem, file in files.items() if not stem.endswith(suffix)}
    return pair_by_stem(images_only, files, folder, (suffix,))


def _paired(images: Path, masks: Path) -> list[Pair]:
    pairs = pair_by_stem(list_images(images), list_images(masks), masks, MASK_STEM_SUFFIXES)
    if not pairs:
        raise UserError(f"{images}: no images in it; expected .png or .jpg files")
    return pairs


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _labels(
    folder: Path, masks: Sequence[str], id2label: str | None
) -> tuple[LabelSet, MaskDecoder]:
    table = Path(id2label) if id2label else _class_file(folder, masks)
    if table is None:
        return _numbered_labels(masks)
    if table.name == "label_colors.txt":
        return _from_colors(read_label_colors(table))
    if table.suffix == ".csv":
        return _from_csv(table)
    labels, ids = read_label_table(table)
    palette = _mask_palette(masks, len(labels)) if not ids else ()
    if palette and table.name != "labels.json":
        labels = LabelSet(labels.names, palette)
    return labels, MaskDecoder.for_labels(labels, ids=ids)


def _class_file(folder: Path, masks: Sequence[str]) -> Path | None:
    """In the folder itself, or beside the masks or one above them (Roboflow)."""
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


def _from_colors(entries: Sequence[tuple[str, Color]]) -> tuple[LabelSet, MaskDecoder]:
    classes = [(name, color) for name, color in entries if name.lower() not in IGNORED_NAMES]
    ignored = tuple(color for name, color in entries if name.lower() in IGNORED_NAMES)
    labels = LabelSet(tuple(n for n, _ in classes), tuple(c for _, c in classes))
    return labels, MaskDecoder.for_labels(labels, ignored_colors=ignored)


def _from_csv(path: Path) -> tuple[LabelSet, MaskDecoder]:
    rows = read_classes_csv(path)
    try:
        if {"r", "g", "b"} <= rows[0].keys():
            name = next(key for key in ("name", "class", "label") if key in rows[0])
            return _from_colors(
                [(row[name], (int(row["r"]), int(row["g"]), int(row["b"]))) for row in rows]
            )
        values = {int(row["pixel value"]): row["class"] for row in rows}
    except (KeyError, ValueError, StopIteration) as error:
        raise UserError(
            f"{path}: expected the columns `name,r,g,b` or `Pixel Value, Class`"
        ) from error
    labels, ids = labels_by_value(values)
    return labels, MaskDecoder.for_labels(labels, ids=ids)


def _numbered_labels(masks: Sequence[str]) -> tuple[LabelSet, MaskDecoder]:
    """No table of classes: the ids that occur in the masks are the classes."""
    reader = MaskDecoder(num_labels=IGNORE_INDEX)
    reader = reader.sniff(masks[:: max(1, len(masks) // _SNIFFED)])
    found: set[int] = set()
    first_error: UserError | None = None
    for mask in masks:
        try:
            if is_lossy(mask):
                raise UserError(
                    f"{mask}: saved as JPEG, which changes values, and no table says which are "
                    "classes; export the masks as PNG"
                )
            found.update(np.unique(reader(mask)).tolist())
        except UserError as error:  # told when the sample is read, unless all are bad
            first_error = first_error or error
    found.discard(IGNORE_INDEX)
    if first_error and (not found or is_lossy(masks[0])):
        raise first_error
    if found <= {0}:
        raise UserError(
            f"{Path(masks[0]).parent}: the masks hold no class but 0 "
            f"({IGNORE_INDEX} means ignored); write classes as 0, 1, 2, ..., or put a classes.csv "
            "with the columns `Pixel Value, Class` into the data folder"
        )
    count = max(found) + 1
    labels = LabelSet(
        tuple(f"class {index}" for index in range(count)), _mask_palette(masks, count)
    )
    return labels, MaskDecoder(num_labels=count)


def _mask_palette(masks: Sequence[str], count: int) -> tuple[Color, ...]:
    """The colours of a palette PNG, where it has enough different ones."""
    try:
        mask: Image.Image = open_image(masks[0])
    except UserError:  # told when the sample is read
        return ()
    if mask.mode != "P":
        return ()
    flat = mask.getpalette() or []
    colors = tuple(tuple(flat[3 * i : 3 * i + 3]) for i in range(count))
    usable = all(len(color) == 3 for color in colors) and len(set(colors)) == count
    return colors if usable else ()  # type: ignore[return-value]
