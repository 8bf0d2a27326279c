"""Where a user's folder has its images, masks and splits.

Case does not matter in names of folders. docs/data.md shows each layout as a tree.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hfseg.data.pairs import Pair, list_images, pair_by_stem
from hfseg.data.splits import SPLIT_ALIASES, WHOLE
from hfseg.errors import UserError

IMAGE_FOLDERS = ("images", "image", "img", "imgs")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "labelmaps")
MASK_STEM_SUFFIXES = ("", "_mask", "_label", "_L")


def find_splits(folder: Path) -> dict[str, list[Pair]]:
    """The pairs of each split, or of the undivided dataset.

    Raises:
        UserError: a folder is missing; the message names it.
    """
    return dict(_split_folders(folder)) or {WHOLE: _pairs(folder)}


def _split_folders(folder: Path) -> Iterator[tuple[str, list[Pair]]]:
    images, masks = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
    for split, aliases in SPLIT_ALIASES.items():
        own = _subfolder(folder, [*aliases, *_joined(aliases, IMAGE_FOLDERS)])
        beside = _subfolder(folder, _joined(aliases, MASK_FOLDERS))
        if own is not None and beside is not None:
            yield split, _paired(own, beside)
        elif own is not None:
            yield split, _pairs(own)
        elif images and masks:
            of_images, of_masks = _subfolder(images, aliases), _subfolder(masks, aliases)
            if of_images and of_masks:
                yield split, _paired(of_images, of_masks)


def _joined(splits: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Names such as `train_masks`."""
    return [f"{split}_{kind}" for split in splits for kind in kinds]


def _pairs(folder: Path) -> list[Pair]:
    images, masks = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
    if images and masks:
        return _paired(images, masks)
    files = list_images(folder)
    suffix = next((s for s in MASK_STEM_SUFFIXES[1:] if any(f.endswith(s) for f in files)), None)
    if suffix is None:
        raise UserError(_what_is_missing(folder, images, masks))
    images_only = {stem: file for stem, file in files.items() if not stem.endswith(suffix)}
    return pair_by_stem(images_only, files, folder, (suffix,))


def _what_is_missing(folder: Path, images: Path | None, masks: Path | None) -> str:
    if images:
        return (
            f"{folder}: there is {images.name}/, but no folder {MASK_FOLDERS[0]}/ for its masks "
            f"(or {', '.join(MASK_FOLDERS[1:])})"
        )
    if masks:
        return (
            f"{folder}: there is {masks.name}/, but no folder {IMAGE_FOLDERS[0]}/ for its images "
            f"(or {', '.join(IMAGE_FOLDERS[1:])})"
        )
    if any(folder.rglob("*.coco.json")):
        return f"{folder}: it contains COCO annotations; use --dataset_name coco"
    inside = [path for path in _folders(folder) if _looks_like_data(path)]
    if inside:
        return f"{folder}: the data is one folder deeper; give --dataset_path {inside[0]}"
    names = ", ".join(f"{path.name}/" for path in _folders(folder)[:8])
    there = f"only {names}" if names else "no folders"
    return (
        f"{folder}: it has no folder {IMAGE_FOLDERS[0]}/ ({there}); "
        f"expected {IMAGE_FOLDERS[0]}/ and {MASK_FOLDERS[0]}/, or train/ and validation/ with "
        "these inside"
    )


def _looks_like_data(folder: Path) -> bool:
    return bool(_subfolder(folder, IMAGE_FOLDERS) or _subfolder(folder, SPLIT_ALIASES["train"]))


def _paired(images: Path, masks: Path) -> list[Pair]:
    found = list_images(images, nested=True)
    if not found:
        raise UserError(f"{images}: it contains no images; expected .png or .jpg files")
    return pair_by_stem(found, list_images(masks, nested=True), masks, MASK_STEM_SUFFIXES)


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:  # tells files from folders without asking for each
        return sorted(folder / each.name for each in entries if _is_folder(each))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.name[0] != "." and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these names that is a folder in `folder`, in any case."""
    there = {path.name.lower(): path for path in _folders(folder)}
    return next((there[name] for name in names if name in there), None)
