"""Datasets on disk, read into ids; the expected ids are written down by hand."""

from pathlib import Path

import numpy as np
from conftest import make_folder
from PIL import Image

from hfseg import load_dataset
from hfseg.data.pairs import list_images


def ids(dataset, split: str, index: int = 0) -> np.ndarray:
    return np.array(dataset[split][index]["label"])


def make_camseq(folder: Path, frames: int = 20) -> Path:
    folder.mkdir()
    table = "64 128 64\t\tAnimal\n0 128 192   Bicyclist\n128 0 0\tBuilding\n0 0 0\t\tVoid\n"
    (folder / "label_colors.txt").write_text(table)
    for index in range(frames):
        color = np.zeros((12, 16, 3), dtype=np.uint8)
        color[:4] = (64, 128, 64)
        color[4:6] = (0, 128, 192)
        color[6:8] = (128, 0, 0)
        image = np.full((12, 16, 3), index, dtype=np.uint8)
        Image.fromarray(image).save(folder / f"0016E5_{7959 + 2 * index:05d}.png")
        Image.fromarray(color).save(folder / f"0016E5_{7959 + 2 * index:05d}_L.png")
    return folder


def test_camseq_colors_become_ids_and_void_is_ignored(tmp_path: Path) -> None:
    data, labels = load_dataset("camseq", str(make_camseq(tmp_path / "CamSeq01")))
    assert labels.names == ("Animal", "Bicyclist", "Building")
    assert labels.palette[1] == (0, 128, 192)
    expected = np.repeat([0, 0, 0, 0, 1, 1, 2, 2, 255, 255, 255, 255], 16).reshape(12, 16)
    np.testing.assert_array_equal(ids(data, "train"), expected)


def test_camseq_is_split_by_time(tmp_path: Path) -> None:
    data, _ = load_dataset("camseq", str(make_camseq(tmp_path / "CamSeq01")))
    frames = [np.array(row["image"])[0, 0, 0] for s in data for row in data[s]]
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    assert frames == sorted(frames)


def test_folder_reads_ids_as_they_are(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "data", count=10)
    data, labels = load_dataset("folder", str(source))
    assert labels.names == ("ground", "wall", "roof")
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 8,
        "validation": 1,
        "test": 1,
    }
    row = data["train"][0]
    assert row["image"].mode == "RGB" and row["label"].mode == "L"
    stored = {p.read_bytes(): p for p in (source / "images").iterdir()}
    image = Path(data["train"].cast_column("image", _path_only())[0]["image"]["path"])
    assert image.read_bytes() in stored
    np.testing.assert_array_equal(
        np.array(row["label"]), np.array(Image.open(source / "masks" / image.name))
    )


def _path_only():
    import datasets

    return datasets.Image(decode=False)


def test_folder_split_does_not_depend_on_the_files_times_or_order(tmp_path: Path) -> None:
    first = make_folder(tmp_path / "a", count=30)
    second = tmp_path / "b"
    for name in ("images", "masks"):
        (second / name).mkdir(parents=True)
        for file in sorted((first / name).iterdir(), reverse=True):
            (second / name / file.name).write_bytes(file.read_bytes())
    names = []
    for source in (first, second):
        data, _ = load_dataset("folder", str(source), id2label=str(first / "classes.txt"))
        paths = data["validation"].cast_column("image", _path_only())["image"]
        names.append([Path(image["path"]).name for image in paths])
    assert names[0] == names[1] and len(names[0]) == 3


def test_palette_png_is_read_by_index_and_gives_the_colors(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "data", count=10)
    for file in (source / "masks").iterdir():
        mask = Image.open(file)
        mask.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90] + [0] * 759)
        mask.save(file)
    plain, _ = load_dataset("folder", str(make_folder(tmp_path / "plain", count=10)))
    data, labels = load_dataset("folder", str(source))
    assert labels.palette == ((10, 20, 30), (40, 50, 60), (70, 80, 90))
    np.testing.assert_array_equal(ids(data, "train", 3), ids(plain, "train", 3))


def test_changed_mask_is_read_again(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "data", count=10)
    load_dataset("folder", str(source))
    for file in (source / "masks").iterdir():
        Image.fromarray(np.ones((48, 64), dtype=np.uint8)).save(file)
    data, _ = load_dataset("folder", str(source))
    assert (ids(data, "train") == 1).all()


def test_train_and_val_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    source = tmp_path / "data"
    make_folder(source / "train", count=4)
    make_folder(source / "val", count=2)
    (source / "classes.txt").write_text("ground\nwall\nroof\n")
    data, _ = load_dataset("folder", str(source))
    assert {split: len(rows) for split, rows in data.items()} == {"train": 4, "validation": 2}


def test_roboflow_png_mask_semantic_export_reads_names_and_values(tmp_path: Path) -> None:
    """Images and `NAME_mask.png` side by side in each split, with the table of its values."""
    values = np.zeros((12, 16), dtype=np.uint8)
    values[3:6], values[6:] = 2, 7
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        (tmp_path / split).mkdir()
        table = "Pixel Value, Class\n0, background\n2, window\n7, door\n"
        (tmp_path / split / "_classes.csv").write_text(table)
        for index in range(count):
            stem = f"{split}-{index}_jpg.rf.0a1b"
            Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(tmp_path / split / f"{stem}.jpg")
            Image.fromarray(values).save(tmp_path / split / f"{stem}_mask.png")
    data, labels = load_dataset("folder", str(tmp_path))
    assert labels.names == ("background", "window", "door")
    sizes = {split: len(rows) for split, rows in data.items()}
    assert sizes == {"train": 3, "validation": 2, "test": 1}
    np.testing.assert_array_equal(ids(data, "validation")[:, 0], [0] * 3 + [1] * 3 + [2] * 6)


def test_hidden_files_and_links_to_themselves_are_passed_over(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=12)
    before = load_dataset("folder", str(folder))[0]
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "images" / ".hidden").mkdir()
    for name in (".hidden/000.png", ".000.png"):
        (folder / "images" / name).write_bytes(b"not an image")
    after = load_dataset("folder", str(folder))[0]
    assert {split: len(rows) for split, rows in after.items()} == {
        split: len(rows) for split, rows in before.items()
    }


def test_files_are_in_the_order_of_their_folders_and_names(tmp_path: Path) -> None:
    for name in ("a/2.PNG", "a/10.png", "a-b.png", "b/1.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(list_images(tmp_path, nested=True)) == ["a/10", "a/2", "a-b", "b/1"]
    assert list(list_images(tmp_path)) == ["a-b"]
