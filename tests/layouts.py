"""Datasets in their official layouts: the real sample where there is one, or generated."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from conftest import REPOSITORY, make_folder
from PIL import Image

from hfseg.data.readers import voc

REAL = Path(os.environ.get("HFSEG_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
# dataset -> its sample; of Cityscapes there is one frame, which can't be trained on
_REAL_FOLDERS = {
    "voc": "VOCdevkit/VOC2012",
    "pets": "oxford_pets",
    "camseq": "CamSeq01",
    "coco": "roboflow_facade_coco",
}
_SIZE = (96, 128)


def data_for(name: str, folder: Path) -> tuple[Path | None, str]:
    """The folder for `--dataset_path`, and whether it is real or generated."""
    if name == "toyscapes":
        return None, "drawn"
    real = REAL / _REAL_FOLDERS.get(name, "none")
    if real.is_dir():
        return real, "real"
    return generated(name, folder), "generated"


def generated(name: str, folder: Path) -> Path:
    """A small dataset in the official layout, which is written to the folder."""
    _MAKERS[name](folder)
    return folder


def _image(path: Path, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(index).integers(0, 255, (*_SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _mask(path: Path, ids: tuple[int, ...]) -> None:
    """Stripes of the ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.arange(_SIZE[0]) * len(ids) // _SIZE[0]
    mask = np.repeat(np.array(ids, dtype=np.uint8)[rows][:, None], _SIZE[1], axis=1)
    Image.fromarray(mask).save(path)


def _voc(folder: Path) -> None:
    names = [f"2007_{index:06d}" for index in range(10)]
    palette = [value for color in voc.labels()[0].palette for value in color]
    for index, name in enumerate(names):
        _image(folder / "JPEGImages" / f"{name}.jpg", index)
        path = folder / "SegmentationClass" / f"{name}.png"
        _mask(path, (0, 5, 15, 255))
        mask = Image.open(path)
        mask.putpalette(palette)
        mask.save(path)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(names[:7]) + "\n")
    (lists / "val.txt").write_text("\n".join(names[7:]) + "\n")


def _pets(folder: Path) -> None:
    names = [f"Persian_{index}" for index in range(24)]
    for index, name in enumerate(names):
        _image(folder / "images" / f"{name}.jpg", index)
        _mask(folder / "annotations" / "trimaps" / f"{name}.png", (2, 3, 1))
    for split, part in (("trainval", names[:20]), ("test", names[20:])):
        lines = [f"{name} 1 1 1" for name in part]
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")


def _cityscapes(folder: Path) -> None:
    for split, count in (("train", 8), ("val", 3)):
        for index in range(count):
            stem = f"aachen_{index:06d}_000019"
            _image(folder / "leftImg8bit" / split / "aachen" / f"{stem}_leftImg8bit.png", index)
            _mask(folder / "gtFine" / split / "aachen" / f"{stem}_gtFine_labelIds.png", (7, 11, 0))


def _camseq(folder: Path) -> None:
    colors = {"Sky": (128, 128, 128), "Road": (128, 64, 128), "Void": (0, 0, 0)}
    for index in range(20):
        _image(folder / f"0016E5_{7959 + 2 * index:05d}.png", index)
        mask = np.zeros((*_SIZE, 3), dtype=np.uint8)
        mask[:60], mask[60:90] = colors["Sky"], colors["Road"]
        Image.fromarray(mask).save(folder / f"0016E5_{7959 + 2 * index:05d}_L.png")
    lines = [f"{r} {g} {b}\t\t{name}" for name, (r, g, b) in colors.items()]
    (folder / "label_colors.txt").write_text("\n".join(lines) + "\n")


def _coco(folder: Path) -> None:
    height, width = _SIZE
    for split, count in (("train", 8), ("valid", 3), ("test", 3)):
        images, annotations = [], []
        for index in range(count):
            _image(folder / split / f"{index}.jpg", index)
            images.append(
                {"id": index, "file_name": f"{index}.jpg", "height": height, "width": width}
            )
            for category, left in ((1, 5), (2, 60)):
                box = [left, 10, 40, 50]
                right, bottom = left + 40, 60
                ring = [left, 10, right, 10, right, bottom, left, bottom]
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": index,
                        "category_id": category,
                        "bbox": box,
                        "area": 2000,
                        "iscrowd": 0,
                        "segmentation": [ring],
                    }
                )
        categories = [{"id": i, "name": name} for i, name in enumerate(("part", "dent", "crack"))]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))


def _ade20k(folder: Path) -> None:
    for split, count in (("training", 8), ("validation", 3)):
        for index in range(count):
            _image(folder / "images" / split / f"ADE_{split}_{index:08d}.jpg", index)
            _mask(folder / "annotations" / split / f"ADE_{split}_{index:08d}.png", (0, 1, 150))


_MAKERS: dict[str, Callable[[Path], object]] = {
    "voc": _voc,
    "pets": _pets,
    "cityscapes": _cityscapes,
    "camseq": _camseq,
    "coco": _coco,
    "ade20k": _ade20k,
    "folder": lambda folder: make_folder(folder, count=13),
}
