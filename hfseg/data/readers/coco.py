"""COCO JSON segmentation: polygons and run lengths -> ids.

Layouts: Roboflow's `train/ valid/ test/`, each with `_annotations.coco.json` beside its images;
COCO's own `annotations/instances_train2017.json` beside `train2017/`; or one JSON file, which is
split. Class 0 is the background: pixels without an annotation.

Shapes are drawn by pycocotools, as in COCO's evaluation: the parts of an object are united. Holes
are stored as run lengths, as a ring joined to its hole by a cut, or as a separate ring inside
another; the annotation's `area` distinguishes the last from a part.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hfseg.data.coco_checks import check_content, check_counts, check_polygons
from hfseg.data.pairs import Pair, Reading
from hfseg.data.readers import ReadOptions
from hfseg.data.splits import SPLIT_ALIASES, WHOLE
from hfseg.errors import UNREADABLE, UserError
from hfseg.labels import IGNORE_INDEX, LabelSet, default_palette

INFO = None
BACKGROUND = "background"
_ROBOFLOW_FILE = "_annotations.coco.json"

Annotation = dict[str, Any]
"""An object of the JSON's `annotations`."""
Content = dict[str, list[dict[str, Any]]]
"""The JSON: `images`, `annotations` and `categories`."""
RunLengths = dict[str, Any]
"""A mask as pycocotools encodes it: `size` and `counts`."""


@dataclass(frozen=True)
class CocoObjects:
    """The annotations of one image: the `mask` of a `Pair`."""

    path: str
    key: str
    height: int
    width: int
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class CocoDecoder:
    """Draws `CocoObjects` into (H, W) uint8 ids.

    Large objects are drawn first, so that small ones on top of them stay visible; crowd
    regions are ignored, except where there is a single object.

    Args:
        ids: pairs of category id and class id.
    """

    ids: tuple[tuple[int, int], ...]

    def __call__(self, objects: CocoObjects, name: str = "") -> np.ndarray:
        """Raises: UserError: a shape that can't be drawn, with the annotation's id."""
        from pycocotools import mask as coco_mask

        ids = dict(self.ids)
        drawn = np.zeros((objects.height, objects.width), dtype=np.uint8)
        shapes: list[tuple[bool, float, int, int, RunLengths]] = []
        for annotation in objects.annotations:
            where = f"{objects.path}: annotation {annotation.get('id')} of {objects.key}"
            if annotation.get("category_id") not in ids:
                category = annotation.get("category_id")
                raise UserError(f"{where}: category {category} is not in 'categories'; add it")
            rle = run_lengths(annotation, objects.height, objects.width, where)
            crowd = bool(annotation.get("iscrowd"))
            label = IGNORE_INDEX if crowd else ids[annotation["category_id"]]
            shapes.append((not crowd, -float(coco_mask.area(rle)), len(shapes), label, rle))
        for *_, label, rle in sorted(shapes, key=lambda shape: shape[:3]):
            left, top, width, height = (int(side) for side in coco_mask.toBbox(rle))
            box = np.s_[top : top + height, left : left + width]
            drawn[box][coco_mask.decode(rle)[box] > 0] = label
        return drawn


def run_lengths(annotation: Annotation, height: int, width: int, where: str) -> RunLengths:
    """The annotation's `segmentation` of any kind as one compressed run length encoding."""
    from pycocotools import mask as coco_mask

    shape = annotation.get("segmentation")
    if isinstance(shape, dict):
        size = shape.get("size")
        if not isinstance(size, list | tuple) or list(size) != [height, width]:
            raise UserError(
                f"{where}: its run lengths are for {shape.get('size')}, but the image is listed as "
                f"{[height, width]} (height, width)"
            )
        counts = shape.get("counts")
        try:
            if isinstance(counts, list):
                check_counts(counts, height * width)
                return coco_mask.frPyObjects(shape, height, width)
            rle = {"size": [height, width], "counts": str(counts).encode("ascii")}
            coco_mask.decode(rle)
            return rle
        except (ValueError, TypeError, UnicodeEncodeError) as error:
            raise UserError(f"{where}: its run lengths can't be read ({error})") from error
    if not isinstance(shape, list) or not shape:
        raise UserError(
            f"{where}: it has no segmentation; export the data with polygons or masks, not boxes"
        )
    rings = [shape] if not isinstance(shape[0], list) else shape
    check_polygons(rings, max(height, width), where)
    parts = coco_mask.frPyObjects([[float(v) for v in ring] for ring in rings], height, width)
    united = coco_mask.merge(parts)
    return united if len(parts) == 1 else _with_holes(parts, united, annotation.get("area"))


def _with_holes(parts: list[RunLengths], united: RunLengths, area: object) -> RunLengths:
    """Rings inside others as holes, if that fits the annotation's area better."""
    from pycocotools import mask as coco_mask

    if not isinstance(area, int | float):
        return united
    odd = np.bitwise_xor.reduce(coco_mask.decode(parts), axis=2)
    # plain ints: an int minus NumPy's unsigned sum wraps around below zero
    with_holes, without = int(np.count_nonzero(odd)), int(coco_mask.area(united))
    if abs(area - with_holes) < abs(area - without):
        return coco_mask.encode(np.asfortranarray(odd))
    return united


# ---- reading ----


def read(folder: Path, options: ReadOptions) -> Reading:
    """The images and annotations of a folder, or of one JSON file.

    Raises:
        UserError: no annotations, JSON that isn't COCO's, or categories that differ between splits.
    """
    files = _annotation_files(folder)
    contents = {split: _load(file) for split, file in files.items()}
    labels, ids = _classes(files, contents)
    root = folder if folder.is_dir() else folder.parent
    finder = _ImageFinder(root)
    splits = {
        split: list(_pairs(files[split], content, finder)) for split, content in contents.items()
    }
    return Reading(splits, labels, CocoDecoder(tuple(sorted(ids.items()))))


def _annotation_files(folder: Path) -> dict[str, Path]:
    if folder.is_file():
        return {WHOLE: folder}
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        for alias in aliases:
            if (folder / alias / _ROBOFLOW_FILE).is_file():
                found[split] = folder / alias / _ROBOFLOW_FILE
                break
            # with the year: annotations/instances_train2017.json
            files = sorted((folder / "annotations").glob(f"instances_{alias}*.json"))
            if files:
                found[split] = files[0]
                break
    if found:
        return found
    lone = sorted([*folder.glob("*.json"), *(folder / "annotations").glob("*.json")])
    if len(lone) == 1:
        return {WHOLE: lone[0]}
    raise UserError(
        f"{folder}: no COCO annotations found; expected train/{_ROBOFLOW_FILE} and "
        f"valid/{_ROBOFLOW_FILE}, annotations/instances_train*.json, or one JSON file"
    )


def _load(path: Path) -> Content:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except UNREADABLE as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    check_content(content, path)
    return content


def _classes(
    files: dict[str, Path], contents: dict[str, Content]
) -> tuple[LabelSet, dict[int, int]]:
    """Class names, and class id by category id; categories with the same name are one class."""
    names: dict[int, str] = {}
    used: set[int] = set()
    supers = {}
    for split, content in contents.items():
        for category in content["categories"]:
            number, name = category["id"], str(category["name"])
            if names.setdefault(number, name) != name:
                raise UserError(
                    f"{files[split]}: category {number} is {name!r} here but {names[number]!r} in "
                    "another split; export the splits together"
                )
            supers[number] = category.get("supercategory")
        used.update(annotation["category_id"] for annotation in content["annotations"])
    # Roboflow lists the name of the project as a category that nothing belongs to
    dropped = {
        number
        for number, name in names.items()
        if number not in used
        and supers[number] in (None, "none")
        and any(parent == name for other, parent in supers.items() if other != number)
    }
    kept = [name for number, name in sorted(names.items()) if number not in dropped]
    classes = [BACKGROUND, *dict.fromkeys(name for name in kept if name != BACKGROUND)]
    if len(classes) == 1:
        raise UserError(
            f"{next(iter(files.values()))}: it has no categories; export the data with its classes"
        )
    labels = LabelSet(tuple(classes), ((0, 0, 0), *default_palette(len(classes) - 1)))
    return labels, {n: labels.label2id[names[n]] for n in names if n not in dropped}


def _pairs(file: Path, content: Content, finder: "_ImageFinder") -> Iterator[Pair]:
    annotations: dict[int | str, list[Annotation]] = {}
    for annotation in content["annotations"]:
        annotations.setdefault(annotation["image_id"], []).append(annotation)
    for image in sorted(content["images"], key=lambda image: str(image["file_name"])):
        name = str(image["file_name"])
        found = tuple(
            {k: a.get(k) for k in ("id", "category_id", "iscrowd", "area", "segmentation")}
            for a in annotations.get(image["id"], ())
        )
        mask = CocoObjects(str(file), name, int(image["height"]), int(image["width"]), found)
        yield Pair(str(finder(file, name)), mask)


class _ImageFinder:
    """Finds the images that a JSON file names: beside it, in COCO's folder, or anywhere."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, Path] | None = None

    def __call__(self, file: Path, name: str) -> Path:
        folder = file.stem.removeprefix("instances_")
        places: Sequence[Path] = (
            file.parent / name,
            file.parent.parent / folder / name,
            file.parent.parent / "images" / folder / name,
        )
        inside = [place for place in places if self._is_inside(place)]
        for place in inside:
            if os.path.isfile(place):  # `Path.is_file` raises for a name that is too long
                return place
        if self._by_name is None:
            self._by_name = {path.name: path for path in sorted(self.root.rglob("*.*"))}
        found = self._by_name.get(Path(name).name) or next(iter(inside), None)
        if found is None:
            raise UserError(
                f"{file}: the image {name!r} is outside {self.root}, and only images in it are "
                "read; move the image there"
            )
        return found

    def _is_inside(self, path: Path) -> bool:
        """By its name: a folder of the dataset may be a link to another disk."""
        return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(self.root))
