"""The built-in datasets in their official layouts, small and made here, read into ids."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg import load_dataset
from hfseg.data import DATASETS, dataset_info
from hfseg.data.readers import ReadOptions, ade20k, camvid, cityscapes, pets, voc
from hfseg.errors import UserError

SHAPE = (8, 10)


def ids(data, split: str, index: int = 0) -> np.ndarray:
    return np.asarray(data[split][index]["label"])


def save(values: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def photo(path: Path) -> None:
    save(np.full((*SHAPE, 3), 90, np.uint8), path)


def columns(*values: int) -> np.ndarray:
    """A mask of vertical stripes with these values, two pixels wide."""
    return np.tile(np.repeat(np.array(values, np.uint8), 2), (SHAPE[0], 1))


def test_every_built_in_dataset_states_its_license_and_origin() -> None:
    for name in DATASETS:
        info = dataset_info(name)
        if name in ("coco", "folder"):
            assert info is None
        else:
            assert info.name == name and info.license and info.license_note and info.splits


def test_voc_palette_is_the_development_kits() -> None:
    labels, _ = voc.labels()
    assert len(labels) == 21
    assert labels.palette[15] == (192, 128, 128) and labels.palette[20] == (0, 64, 128)
    assert voc.voc_color(255) == (224, 224, 192)


@pytest.mark.parametrize("augmented", [False, True])
def test_voc_takes_the_augmented_masks_where_they_are(tmp_path: Path, augmented: bool) -> None:
    root = tmp_path / "VOC2012"
    for index, name in enumerate(("a", "b", "c")):
        photo(root / "JPEGImages" / f"{name}.jpg")
        save(columns(0, 1, 2, 255, index), root / "SegmentationClass" / f"{name}.png")
        if augmented:
            save(columns(3, 3, 3, 3, index), root / "SegmentationClassAug" / f"{name}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    data, _ = load_dataset("voc", str(root))
    assert len(data["train"]) == (2 if augmented else 1)
    assert (
        ids(data, "train")[0].tolist()
        == columns(*((3,) * 4 if augmented else (0, 1, 2, 255)), 0)[0].tolist()
    )
    np.testing.assert_array_equal(ids(data, "validation"), columns(0, 1, 2, 255, 1))


@pytest.mark.parametrize("name", ["../../elsewhere/a", "/elsewhere/a"])
def test_a_list_cannot_name_images_elsewhere(tmp_path: Path, name: str) -> None:
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(f"{name}\n")
    (lists / "val.txt").write_text("b\n")
    with pytest.raises(UserError, match="is outside the dataset's folder"):
        voc.read(tmp_path, ReadOptions())


@pytest.mark.parametrize("encoding", ["labelIds", "labelTrainIds", "color"])
def test_cityscapes_encodings_give_the_same_train_ids(tmp_path: Path, encoding: str) -> None:
    stripes = {
        "labelIds": columns(7, 26, 33, 4, 10),
        "labelTrainIds": columns(0, 13, 18, 255, 255),
        "color": np.array(
            [(128, 64, 128), (0, 0, 142), (119, 11, 32), (0, 0, 0), (230, 150, 140)], np.uint8
        )[columns(0, 1, 2, 3, 4)],
    }
    for split in ("train", "val"):
        photo(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_000000_000019_leftImg8bit.png")
        name = f"ulm_000000_000019_gtFine_{encoding}.png"
        save(stripes[encoding], tmp_path / "gtFine" / split / "ulm" / name)
    data, labels = load_dataset("cityscapes", str(tmp_path))
    assert len(labels) == 19 and labels.names[13] == "car"
    np.testing.assert_array_equal(ids(data, "train"), columns(0, 13, 18, 255, 255))


def test_cityscapes_trains_19_of_34_ids() -> None:
    _, decoder = cityscapes.labels()
    table = dict(decoder.ids)
    assert sorted(set(table.values())) == [*range(19), 255] and len(table) == 34


@pytest.mark.parametrize(
    ("mode", "expected"), [(None, (0, 1, 2, 0, 1)), ("binary", (1, 0, 255, 1, 0))]
)
def test_pets_trimap_and_binary(tmp_path: Path, mode: str | None, expected: tuple) -> None:
    names = [f"Abyssinian_{index}" for index in range(22)]
    for name in names:
        photo(tmp_path / "images" / f"{name}.jpg")
        save(columns(1, 2, 3, 1, 2), tmp_path / "annotations" / "trimaps" / f"{name}.png")
    lines = [f"{name} 1 1 1\n" for name in names]
    (tmp_path / "annotations" / "trainval.txt").write_text("".join(lines[:20]))
    (tmp_path / "annotations" / "test.txt").write_text("".join(lines[20:]))
    data, _ = load_dataset("pets", str(tmp_path), label_mode=mode)
    assert {s: len(rows) for s, rows in data.items()} == {"train": 18, "validation": 2, "test": 2}
    np.testing.assert_array_equal(ids(data, "test"), columns(*expected))


def test_pets_has_no_other_label_mode() -> None:
    with pytest.raises(UserError, match="trimap or binary"):
        load_dataset("pets", "nowhere", label_mode="11")
    assert pets.labels("binary")[0].names == ("background", "pet")


def test_camvid_groups_cover_all_names_but_void() -> None:
    members = [name for _, names in camvid.GROUPS.values() for name in names]
    assert sorted(members) == sorted(set(camvid.COLORS) - {"Void"})


def test_camvid_colors_become_11_groups(tmp_path: Path) -> None:
    names = ["Sky", "LaneMkgsDriv", "Void", "Truck_Bus", "Tunnel"]
    colors = np.array([camvid.COLORS[name] for name in names], np.uint8)
    for index in range(10):
        photo(tmp_path / f"0001TP_{index:06d}.png")
        save(colors[columns(0, 1, 2, 3, 4)], tmp_path / f"0001TP_{index:06d}_L.png")
    data, labels = load_dataset("camvid", str(tmp_path), label_mode="11")
    expected = [labels.label2id[n] for n in ("Sky", "Road")] + [255]
    expected += [labels.label2id[n] for n in ("Car", "Building")]
    np.testing.assert_array_equal(ids(data, "train"), columns(*expected))
    assert len(load_dataset("camvid", str(tmp_path))[1]) == 31


def test_camvid_in_segnets_layout_has_11_classes_as_ids(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        photo(tmp_path / split / "a.png")
        save(columns(0, 10, 11, 3, 4), tmp_path / f"{split}annot" / "a.png")
    data, labels = load_dataset("camvid", str(tmp_path))
    assert len(labels) == 11 and set(data) == {"train", "validation", "test"}
    np.testing.assert_array_equal(ids(data, "test"), columns(0, 10, 255, 3, 4))
    with pytest.raises(UserError, match="--label_mode 11"):
        load_dataset("camvid", str(tmp_path), label_mode="32")


def test_ade20k_other_is_ignored_and_ids_move_down_by_one(tmp_path: Path) -> None:
    root = tmp_path / "ADEChallengeData2016"
    for part in ("training", "validation"):
        photo(root / "images" / part / "ADE_00000001.jpg")
        save(columns(0, 1, 2, 150, 13), root / "annotations" / part / "ADE_00000001.png")
    data, labels = load_dataset("ade20k", str(tmp_path))
    assert len(labels) == 150 and labels.names[12] == "person"
    np.testing.assert_array_equal(ids(data, "train"), columns(255, 0, 1, 149, 12))
    assert ade20k.labels()[0].names[149] == "flag"
