"""A user's own folder of images and masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hfseg.data.class_tables import read_classes_csv, read_label_colors, read_label_set
from hfseg.data.masks import MaskDecoder, open_image
from hfseg.data.pairs import Pair, list_images
from hfseg.data.splits import DEFAULT_FRACTIONS, SPLIT_ALIASES, split_at_random
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

IMAGE_FOLDERS = ("images", "image", "img", "imgs")
MASK_FOLDERS = ("masks", "mask", "labels", "annotations", "labelmaps")
MASK_STEM_SUFFIXES = ("", "_mask", "_label", "_L")
CLASS_FILES = ("labels.json", "id2label.json", "classes.txt", "label_colors.txt", "classes.csv")
_IGNORED_NAMES = ("void", "ignore", "ignored", "unlabelled", "unlabeled")


def read(
    source: str,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int = 42,
    id2label: str | None = None,
) -> tuple[dict[str, list[Pair]], LabelSet, MaskDecoder]:
    """The pairs of each split, the labels and the decoder of a folder.

    Layouts: `train/images train/masks validation/... [test/...]`, or one `images/ masks/` pair
    that is split by a hash of the file names. Masks are ids or palette PNG, or RGB with a
    `label_colors.txt` or `classes.csv`. Names come from `id2label`, or one of `labels.json`,
    `id2label.json`, `classes.txt`, `label_colors.txt`, `classes.csv` in the folder; without one
    the classes are numbered.
    """
    folder = Path(source)
    splits = {}
    for split, aliases in SPLIT_ALIASES.items():
        found = next((folder / alias for alias in aliases if (folder / alias).is_dir()), None)
        if found is not None:
            splits[split] = _pairs(found)
    if not splits:
        pairs = _pairs(folder)
        splits = split_at_random(pairs, [Path(p.image).stem for p in pairs], fractions, seed)
    labels, decoder = _labels(folder, splits, id2label)
    return splits, labels, decoder


def _pairs(folder: Path) -> list[Pair]:
    images = _subfolder(folder, IMAGE_FOLDERS)
    masks = _subfolder(folder, MASK_FOLDERS)
    mask_files = list_images(masks)
    pairs = []
    for stem, image in list_images(images).items():
        mask = next(
            (mask_files[stem + s] for s in MASK_STEM_SUFFIXES if stem + s in mask_files), None
        )
        if mask is None:
            raise UserError(
                f"{image}: no mask {stem}.png for it in {masks}; add it or remove the image"
            )
        pairs.append(Pair(str(image), str(mask)))
    if not pairs:
        raise UserError(f"{images}: no images in it; expected .png or .jpg files")
    return pairs


def _subfolder(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise UserError(
        f"{folder}: no folder {names[0]}/ in it; expected {IMAGE_FOLDERS[0]}/ and "
        f"{MASK_FOLDERS[0]}/, or train/ and validation/ with these inside"
    )


def _labels(
    folder: Path, splits: dict[str, list[Pair]], id2label: str | None
) -> tuple[LabelSet, MaskDecoder]:
    table = Path(id2label) if id2label else None
    if table is None:
        table = next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)
    first = open_image(next(iter(splits.values()))[0].mask)
    if table is None:
        return _numbered_labels(splits, first)
    if table.name == "label_colors.txt":
        return _from_colors(read_label_colors(table))
    if table.suffix == ".csv":
        return _from_csv(table)
    labels = read_label_set(table)
    palette = _mask_palette(first, len(labels))
    if palette and table.name != "labels.json":
        labels = LabelSet(labels.names, palette)
    return labels, MaskDecoder.for_labels(labels)


def _from_colors(entries: Sequence[tuple[str, Color]]) -> tuple[LabelSet, MaskDecoder]:
    classes = [(name, color) for name, color in entries if name.lower() not in _IGNORED_NAMES]
    ignored = tuple(color for name, color in entries if name.lower() in _IGNORED_NAMES)
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
    labels = LabelSet(tuple(values[value] for value in sorted(values)))
    ids = {value: index for index, value in enumerate(sorted(values))}
    return labels, MaskDecoder.for_labels(labels, ids=ids)


def _numbered_labels(
    splits: dict[str, list[Pair]], first: "object"
) -> tuple[LabelSet, MaskDecoder]:
    """No table of classes: the ids that occur in the masks are the classes."""
    reader = MaskDecoder(num_labels=IGNORE_INDEX)
    found: set[int] = set()
    for pairs in splits.values():
        for pair in pairs:
            found.update(np.unique(reader(pair.mask)).tolist())
    found.discard(IGNORE_INDEX)
    if found <= {0}:
        raise UserError(
            f"{Path(next(iter(splits.values()))[0].mask).parent}: the masks hold no class but 0 "
            f"({IGNORE_INDEX} means ignored); write classes as 0, 1, 2, ..., or put a classes.csv "
            "with the columns `Pixel Value, Class` into the data folder"
        )
    count = max(found) + 1
    labels = LabelSet(
        tuple(f"class {index}" for index in range(count)), _mask_palette(first, count) or ()
    )
    return labels, MaskDecoder.for_labels(labels)


def _mask_palette(mask: "object", count: int) -> tuple[Color, ...]:
    """The colours of a palette PNG, where it has enough different ones."""
    if getattr(mask, "mode", "") != "P":
        return ()
    flat = mask.getpalette() or []  # type: ignore[attr-defined]
    colors = tuple(tuple(flat[3 * i : 3 * i + 3]) for i in range(count))
    usable = all(len(color) == 3 for color in colors) and len(set(colors)) == count
    return colors if usable else ()  # type: ignore[return-value]
