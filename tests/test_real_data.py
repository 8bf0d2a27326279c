"""The real samples, decoded a second time with PIL and numpy alone."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image, ImageDraw

from hfseg import load_dataset

pytestmark = pytest.mark.slow

FOLDER = Path(os.environ.get("HFSEG_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
if not FOLDER.is_dir():
    pytest.skip(
        "real data: set HFSEG_REAL_DATA to a folder with VOCdevkit, CamSeq01, ...",
        allow_module_level=True,
    )


def three(data, split: str = "train"):
    """Path of the image, and the ids, of the first, middle and last sample."""
    import datasets

    rows = data[split]
    paths = rows.cast_column("image", datasets.Image(decode=False))
    for index in sorted({0, len(rows) // 2, len(rows) - 1}):
        yield Path(paths[index]["image"]["path"]), np.asarray(rows[index]["label"])


def test_voc() -> None:
    data, _ = load_dataset("voc", str(FOLDER / "VOCdevkit"))
    assert {s: len(rows) for s, rows in data.items()} == {"train": 200, "validation": 100}
    for path, ids in three(data):
        mask = path.parent.parent / "SegmentationClass" / f"{path.stem}.png"
        np.testing.assert_array_equal(ids, np.array(Image.open(mask)))


def test_pets() -> None:
    data, _ = load_dataset("pets", str(FOLDER / "oxford_pets"))
    assert sum(len(rows) for rows in data.values()) == 119 and len(data["test"]) == 29
    for path, ids in three(data, "test"):
        trimap = path.parent.parent / "annotations" / "trimaps" / f"{path.stem}.png"
        np.testing.assert_array_equal(ids, np.array(Image.open(trimap)) - 1)


def test_camseq() -> None:
    data, labels = load_dataset("camseq", str(FOLDER / "CamSeq01"))
    assert [len(rows) for rows in data.values()] == [81, 10, 10] and len(labels) == 31
    for path, ids in three(data):
        colors = np.array(Image.open(path.with_name(f"{path.stem}_L.png")).convert("RGB"))
        table = np.array([*labels.palette, *[(0, 0, 0)] * (256 - len(labels))])
        np.testing.assert_array_equal(table[ids], colors)


def test_cityscapes() -> None:
    folder = FOLDER / "cityscapes_mmseg_pseudo"
    data, _ = load_dataset("cityscapes", str(folder))
    raw = np.array(Image.open(next(folder.rglob("*_labelIds.png"))))
    ids = np.asarray(data["validation"][0]["label"])
    trained = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    expected = np.full_like(raw, 255)
    for index, value in enumerate(trained):
        expected[raw == value] = index
    np.testing.assert_array_equal(ids, expected)
    # the sample's own train ids were made smaller separately: they differ on a few edges
    theirs = np.array(Image.open(next(folder.rglob("*_labelTrainIds.png"))))
    assert (ids == theirs).mean() > 0.997


def test_roboflow_coco_polygons() -> None:
    """PIL draws polygon edges otherwise than pycocotools: compared where no edge is near."""
    folder = FOLDER / "roboflow_facade_coco"
    data, labels = load_dataset("coco", str(folder))
    content = json.loads((folder / "train" / "_annotations.coco.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    for path, ids in three(data):
        image = next(i for i in content["images"] if i["file_name"] == path.name)
        mine = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        shapes, edges = [], Image.new("L", ids.shape[::-1])
        for annotation in mine:
            shape = Image.new("L", ids.shape[::-1])
            for ring in annotation["segmentation"]:
                ImageDraw.Draw(shape).polygon(ring, fill=1)
                ImageDraw.Draw(edges).line([*ring, *ring[:2]], fill=1, width=5)
            filled = np.array(shape)
            shapes.append(
                (-int(filled.sum()), labels.label2id[names[annotation["category_id"]]], filled)
            )
        expected = np.zeros_like(ids)
        for _, label, filled in sorted(shapes, key=lambda s: s[0]):
            expected[filled > 0] = label
        away = np.array(edges) == 0
        assert away.mean() > 0.5
        assert (ids[away] == expected[away]).mean() > 0.9999


@pytest.mark.parametrize("name", ["facade_coco", "court_coco", "leafvein_coco", "borrat_coco_rle"])
def test_every_shape_of_a_real_export_is_what_pycocotools_draws(name: str, capsys) -> None:
    from pycocotools.coco import COCO

    from hfseg.data.readers.coco import CocoDecoder, CocoObjects

    for file in sorted((FOLDER / f"roboflow_{name}").rglob("_annotations.coco.json")):
        coco = COCO(str(file))
        for annotation in coco.anns.values():
            if isinstance(annotation["segmentation"], list):
                assert len(annotation["segmentation"]) == 1  # pycocotools knows no holes
            image = coco.imgs[annotation["image_id"]]
            alone = CocoObjects("", "", image["height"], image["width"], (annotation,))
            drawn = CocoDecoder(((annotation["category_id"], 1),))(alone)
            np.testing.assert_array_equal(drawn, coco.annToMask(annotation))
