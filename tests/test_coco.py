"""COCO JSON: shapes become ids as pycocotools draws them, and broken ones are named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hfseg import load_dataset
from hfseg.data.readers.coco import CocoDecoder, CocoObjects
from hfseg.errors import UserError

SIZE = 64


def draw(*annotations: dict[str, Any], size: int = SIZE) -> np.ndarray:
    found = tuple({"id": i, "category_id": 7, **a} for i, a in enumerate(annotations))
    decoder = CocoDecoder(((7, 1), (9, 2)))
    return decoder(CocoObjects("x.json", "a.jpg", size, size, found))


def star(center: float, radii: list[float]) -> list[tuple[float, float]]:
    """A star-shaped polygon: simple whatever the radii are."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return [
        (center + r * np.cos(a), center + r * np.sin(a)) for r, a in zip(radii, angles, strict=True)
    ]


def inside(ring: list[tuple[float, float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Point in polygon by counting crossings of a ray (even-odd)."""
    odd = np.zeros(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            odd ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return odd


def distance_to(ring: list[tuple[float, float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    nearest = np.full(x.shape, np.inf)
    for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x0 - along * dx, y - y0 - along * dy))
    return nearest


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/secret.png"])
def test_images_outside_of_the_folder_are_not_read(tmp_path: Path, name: str) -> None:
    data = tmp_path / "a" / "b"
    data.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    content = {
        "images": [{"id": 1, "file_name": name, "height": 8, "width": 8}],
        "annotations": [],
        "categories": [{"id": 1, "name": "wall"}],
    }
    (data / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"is outside .*, and only images in it are read"):
        load_dataset("coco", str(data))


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("images", {"height": 10**9}, "is listed as 8 x 1000000000 pixels"),
        ("images", {"width": -8}, "is listed as -8 x 8 pixels"),
        ("images", {"file_name": None}, r"in images\[0\], 'file_name' is 'None'"),
        ("annotations", {"category_id": [1]}, r"in annotations\[0\], 'category_id' is"),
        ("annotations", {"segmentation": [[0, 0, 1e308, 0, 4, 4]]}, "far outside the image"),
        ("annotations", {"segmentation": [[0, 0, float("nan"), 0, 4, 4]]}, "far outside the"),
        ("annotations", {"segmentation": [[0, 0, 4, "x", 4, 4]]}, "at least three points"),
        (
            "annotations",
            {"segmentation": {"size": [8, 8], "counts": [-8, 72]}},
            "a length is not a whole number",
        ),
        ("annotations", {"segmentation": {"size": 8, "counts": [64]}}, "run lengths are for 8"),
        ("categories", {"name": {}}, r"in categories\[0\], 'name' is"),
    ],
)
def test_fields_that_would_crash_the_drawing_in_c_are_named(
    tmp_path: Path, part: str, change: dict[str, Any], words: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
        "annotations": [square],
        "categories": [{"id": 1, "name": "wall"}],
    }
    content[part][0].update(change)
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=words) as caught:
        load_dataset("coco", str(tmp_path))
    assert "a.json" in str(caught.value)


radii = st.lists(st.floats(16, 29), min_size=5, max_size=12)
small_radii = st.lists(st.floats(4, 9), min_size=4, max_size=9)


@settings(deadline=None, max_examples=40)
@given(radii, small_radii, st.sampled_from(["rle", "cut", "ring"]))
def test_a_polygon_with_a_hole_is_what_point_in_polygon_says(
    outer: list[float], inner: list[float], how: str
) -> None:
    """Away from edges, where pycocotools' rounding and a ray may differ."""
    ring, hole = star(32, outer), star(32, inner)
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    expected = inside(ring, x, y) & ~inside(hole, x, y)
    flat = [[c for point in part for c in point] for part in (ring, hole)]
    if how == "ring":
        shape = {"segmentation": flat, "area": float(expected.sum())}
    elif how == "cut":
        joined = [*ring, ring[0], *hole[:1], *reversed(hole)]
        shape = {"segmentation": [[c for point in joined for c in point]]}
    else:
        counts, last, length = [], 0, 0
        for value in expected.ravel(order="F").astype(int).tolist():
            if value != last:
                counts.append(length)
                last, length = value, 0
            length += 1
        shape = {"segmentation": {"size": [SIZE, SIZE], "counts": [*counts, length]}}
    ids = draw(shape)
    away = np.minimum(distance_to(ring, x, y), distance_to(hole, x, y)) > 1.5
    if how == "cut":
        away &= distance_to([ring[0], hole[0]], x, y) > 1.5
    np.testing.assert_array_equal(ids[away], expected[away].astype(np.uint8))
    assert (ids == 1).any() and ids[32, 32] == 0


@settings(deadline=None, max_examples=40)
@given(radii, small_radii, st.sampled_from([int, float]))
def test_a_ring_in_a_ring_is_what_pycocotools_draws_of_both(
    outer: list[float], inner: list[float], number: type
) -> None:
    from pycocotools import mask as coco_mask

    rings = [[c for point in star(32, part) for c in point] for part in (outer, inner)]
    around, hole = (coco_mask.decode(coco_mask.frPyObjects([r], SIZE, SIZE))[..., 0] for r in rings)
    area = number((around ^ hole).sum())
    ids = draw({"segmentation": rings, "area": area})
    np.testing.assert_array_equal(ids, around ^ hole)


SQUARE = [4, 4, 40, 4, 40, 40, 4, 40]
INNER = [10, 10, 20, 10, 20, 20, 10, 20]


def test_parts_of_an_object_are_united() -> None:
    ids = draw({"segmentation": [[2, 2, 10, 2, 10, 10, 2, 10], [30, 30, 50, 30, 50, 50, 30, 50]]})
    assert ids[5, 5] == ids[40, 40] == 1 and ids[20, 20] == 0
    overlapping = draw({"segmentation": [SQUARE, INNER], "area": 36 * 36})
    assert overlapping[15, 15] == 1


def test_small_objects_lie_on_large_ones_in_any_order() -> None:
    large, small = {"segmentation": [SQUARE]}, {"segmentation": [INNER], "category_id": 9}
    for order in ((large, small), (small, large)):
        ids = draw(*order)
        assert ids[15, 15] == 2 and ids[30, 30] == 1


def test_a_crowd_is_ignored_where_no_object_lies() -> None:
    ids = draw({"segmentation": [SQUARE], "iscrowd": 1}, {"segmentation": [INNER]})
    assert ids[30, 30] == 255 and ids[15, 15] == 1 and ids[60, 60] == 0


def test_run_lengths_compressed_and_not_are_the_same() -> None:
    from pycocotools import mask as coco_mask

    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[10:20, 5:60] = 1
    expected[12:15, 20:30] = 0
    rle = coco_mask.encode(np.asfortranarray(expected))
    rle["counts"] = rle["counts"].decode()
    np.testing.assert_array_equal(draw({"segmentation": rle}), expected)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 1, 5, 5]], "three points"),
        ([], "boxes"),
        ({"size": [SIZE, SIZE], "counts": [5, 6]}, "11 of 4096"),
        ({"size": [9, 9], "counts": "abc"}, "[9, 9]"),
    ],
)
def test_a_broken_shape_is_named(segmentation: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        draw({"segmentation": segmentation})
    assert "x.json: annotation 0 of a.jpg" in str(caught.value) and words in str(caught.value)


# ---- whole exports ----


def write_export(folder: Path, count: int, categories: list[dict], used: list[int]) -> None:
    folder.mkdir(parents=True)
    images, annotations = [], []
    for index in range(count):
        name = f"é {index}.jpg"
        Image.new("RGB", (SIZE, SIZE), (index, 80, 90)).save(folder / name)
        images.append({"id": index, "file_name": name, "height": SIZE, "width": SIZE})
        for number, category in enumerate(used):
            shape = [SQUARE if number == 0 else INNER]
            annotations.append(
                {"id": len(annotations), "image_id": index, "category_id": category,
                 "segmentation": shape, "iscrowd": 0, "area": 1.0}
            )  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")


ROBOFLOW = [
    {"id": 0, "name": "wall", "supercategory": "none"},
    {"id": 3, "name": "wall", "supercategory": "wall"},
    {"id": 90, "name": "door", "supercategory": "wall"},
]


def test_roboflow_export_drops_the_placeholder_and_keeps_sparse_ids(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        write_export(tmp_path / "my data" / split, count, ROBOFLOW, used=[3, 90])
    data, labels = load_dataset("coco", str(tmp_path / "my data"))
    assert labels.names == ("background", "wall", "door")
    assert {s: len(rows) for s, rows in data.items()} == {"train": 3, "validation": 2, "test": 1}
    ids = np.asarray(data["train"][0]["label"])
    assert ids[30, 30] == 1 and ids[15, 15] == 2 and ids[60, 60] == 0


def test_cocos_own_layout_is_read(tmp_path: Path) -> None:
    for split, count in (("train2017", 3), ("val2017", 2)):
        write_export(tmp_path / split, count, ROBOFLOW[1:], used=[3])
        target = tmp_path / "annotations" / f"instances_{split}.json"
        target.parent.mkdir(exist_ok=True)
        (tmp_path / split / "_annotations.coco.json").rename(target)
    data, _ = load_dataset("coco", str(tmp_path))
    assert {s: len(rows) for s, rows in data.items()} == {"train": 3, "validation": 2}


def test_a_missing_image_is_named_or_left_out(tmp_path: Path, caplog) -> None:
    write_export(tmp_path / "all", 6, ROBOFLOW, used=[3])
    (tmp_path / "all" / "é 2.jpg").unlink()
    with pytest.raises(UserError, match=r"é 2\.jpg: no such image"):
        load_dataset("coco", str(tmp_path / "all"))
    split = "0.5,0.25,0.25"
    data, _ = load_dataset(
        "coco", str(tmp_path / "all"), on_bad_sample="skip", train_val_test_split=split
    )
    assert sum(len(rows) for rows in data.values()) == 5
    assert "left out 1 of 6" in caplog.text and "é 2.jpg" in caplog.text


def test_categories_that_differ_between_splits_are_reported(tmp_path: Path) -> None:
    write_export(tmp_path / "train", 1, ROBOFLOW, used=[3])
    other = [{"id": 3, "name": "roof", "supercategory": "wall"}]
    write_export(tmp_path / "valid", 1, other, used=[3])
    with pytest.raises(UserError, match="category 3 is 'roof' here but 'wall'"):
        load_dataset("coco", str(tmp_path))


@pytest.mark.parametrize("number", [int, float])
@pytest.mark.parametrize("stated", [0, 30, 166, 250, 290, 300, 400])
def test_whether_a_ring_is_a_hole_does_not_depend_on_how_its_area_is_written(
    number: type, stated: int
) -> None:
    outer, inner = [0, 0, 20, 0, 20, 15, 0, 15], [4, 2, 16, 2, 16, 13, 4, 13]
    ids = draw({"segmentation": [outer, inner], "area": number(stated)})
    without, filled = 300 - 132, 300
    assert (ids == 1).sum() == min(without, filled, key=lambda size: abs(size - stated))
