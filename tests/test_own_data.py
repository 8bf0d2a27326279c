"""A user's own data: every layout of a folder that is read, datasets in memory and on disk."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg import LabelSet, load_dataset
from hfseg.data.rows import sample_names
from hfseg.errors import UserError

COLORS = np.array([(10, 20, 30), (200, 0, 0), (0, 200, 0)], np.uint8)


def add(folder: Path, images: str, masks: str, names: list[str], colors: bool = False) -> None:
    ids = np.arange(3, dtype=np.uint8).repeat(24).reshape(6, 12)
    for index, name in enumerate(names):
        image, mask = folder / images / f"{name}.jpg", folder / masks / f"{name}.png"
        for file in (image, mask):
            file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 255, (6, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image)
        Image.fromarray(COLORS[ids] if colors else ids).save(mask)


def sizes(folder: Path) -> dict[str, int]:
    data, labels = load_dataset("folder", str(folder))
    assert len(labels) == 3
    for rows in data.values():
        assert np.unique(rows[0]["label"]).tolist() == [0, 1, 2]
    return {split: len(rows) for split, rows in data.items()}


TEN = [f"{index:02d}" for index in range(10)]
NESTED = [f"{part}/{index}" for part in ("north", "south") for index in range(5)]


@pytest.mark.parametrize(
    ("images", "masks", "names"),
    [
        ("images", "masks", TEN),
        ("Images", "Masks", TEN),
        ("imgs", "labels", TEN),
        ("images", "annotations", TEN),
        ("images", "masks", NESTED),
    ],
)
def test_one_pair_of_folders_is_divided(
    tmp_path: Path, images: str, masks: str, names: list[str]
) -> None:
    add(tmp_path, images, masks, names)
    assert sizes(tmp_path) == {"train": 8, "validation": 1, "test": 1}


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{}/images", "{}/masks"),
        ("images/{}", "masks/{}"),
        ("Images/{}", "Labels/{}"),
        ("{}/Images", "{}/Masks"),
        ("{}", "{}_labels"),
        ("{}_images", "{}_masks"),
    ],
)
@pytest.mark.parametrize("splits", [("train", "validation"), ("Train", "Val"), ("train", "valid")])
def test_folders_of_splits_are_taken_as_they_are(
    tmp_path: Path, images: str, masks: str, splits: tuple[str, str]
) -> None:
    for split, count in zip(splits, (4, 2), strict=True):
        add(tmp_path, images.format(split), masks.format(split), TEN[:count])
    assert sizes(tmp_path) == {"train": 4, "validation": 2}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("classes.csv", "name,r,g,b\nsky,10,20,30\nwall,200,0,0\ndoor,0,200,0\n"),
        ("class_dict.csv", "name,r,g,b\nsky,10,20,30\nwall,200,0,0\ndoor,0,200,0\n"),
        ("label_colors.txt", "10 20 30 sky\n200 0 0\twall\n0 200 0 front door\n"),
        ("classes.txt", "10 20 30 sky\n200 0 0 wall\n0 200 0 front door\n"),
        ("classes.txt", "sky 10 20 30\nwall: 200, 0, 0\nfront door 0 200 0\n"),
    ],
)
def test_masks_in_colors_are_read_by_a_table_of_any_of_these_names(
    tmp_path: Path, file: str, content: str
) -> None:
    add(tmp_path, "images", "masks", TEN, colors=True)
    (tmp_path / file).write_text(content)
    assert sizes(tmp_path)["train"] == 8


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["images"], "there is images/, but no folder masks/"),
        (["Masks"], "there is Masks/, but no folder images/"),
        (["photos", "truth"], r"it has no folder images/ \(only photos/, truth/\)"),
        (["mine/images", "mine/masks"], r"one folder deeper; give --dataset_path .*mine"),
    ],
)
def test_what_is_missing_in_a_folder_is_said(
    tmp_path: Path, folders: list[str], words: str
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=words):
        load_dataset("folder", str(tmp_path))


# ---- in memory, and from save_to_disk ----


def in_memory(count: int = 10, first: int = 0):
    import datasets

    image, mask = datasets.Image(), datasets.Image()
    photos = [
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (6, 12, 3), dtype=np.uint8))
        for i in range(count)
    ]
    ids = np.arange(first, first + 3, dtype=np.uint8).repeat(24).reshape(6, 12)
    return datasets.Dataset.from_dict(
        {"photo": photos, "mask": [Image.fromarray(ids)] * count},
        features=datasets.Features({"photo": image, "mask": mask}),
    )


LABELS = LabelSet(("sky", "wall", "door"))


def test_a_dataset_in_memory_is_divided_and_named() -> None:
    data, labels = load_dataset(in_memory(), labels=LABELS)
    assert labels == LABELS
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 8,
        "validation": 1,
        "test": 1,
    }
    assert np.unique(data["train"][0]["label"]).tolist() == [0, 1, 2]
    assert len(load_dataset(in_memory())[1]) == 3


@pytest.mark.parametrize(
    "names", [list(LABELS.names), LABELS.names, {0: "sky", 1: "wall", 2: "door"}], ids=type
)
def test_names_of_classes_in_memory_need_no_label_set(names: object) -> None:
    assert load_dataset(in_memory(), labels=names)[1] == LABELS


def test_a_dictionary_of_names_gives_the_values_of_the_masks() -> None:
    data, labels = load_dataset(in_memory(first=1), labels={1: "sky", 2: "wall", 3: "door"})
    assert labels == LABELS
    assert np.unique(data["train"][0]["label"]).tolist() == [0, 1, 2]


@pytest.mark.parametrize("labels", ["sky", 3, [], [0, 1, 2], {"sky": 0}])
def test_what_names_no_classes_is_refused(labels: object) -> None:
    with pytest.raises(UserError, match=r"labels= takes a hfseg.LabelSet, a list of names"):
        load_dataset(in_memory(), labels=labels)


@pytest.mark.parametrize("labels", [LABELS, None])
def test_ids_from_1_in_memory_stop_with_what_fixes_them(labels: LabelSet | None) -> None:
    with pytest.raises(UserError, match=r"ids seem to start at 1: .* 1, 2, 3 but never 0"):
        load_dataset(in_memory(first=1), labels=labels)
    names = "1=sky 2=wall 3=door"
    data, found = load_dataset(in_memory(first=1), labels=labels, label_map=names)
    assert found.names == LABELS.names
    assert np.unique(data["train"][0]["label"]).tolist() == [0, 1, 2]


def test_a_dataset_dict_in_memory_keeps_its_splits() -> None:
    import datasets

    given = datasets.DatasetDict({"train": in_memory(4), "val": in_memory(2)})
    data, _ = load_dataset(given, labels=LABELS)
    assert {split: len(rows) for split, rows in data.items()} == {"train": 4, "validation": 2}


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("by_path", [False, True])
def test_a_folder_of_save_to_disk_is_read(tmp_path: Path, divided: bool, by_path: bool) -> None:
    import datasets

    given = in_memory()
    if divided:
        given = datasets.DatasetDict({"train": in_memory(8), "validation": in_memory(2)})
    given.save_to_disk(str(tmp_path / "saved"))
    LABELS.save(tmp_path / "saved" / "labels.json")
    where = ("folder", str(tmp_path / "saved")) if by_path else (str(tmp_path / "saved"),)
    data, labels = load_dataset(*where)
    assert labels == LABELS and len(data["train"]) == 8


def test_samples_are_called_by_their_files(tmp_path: Path) -> None:
    add(tmp_path, "images", "masks", NESTED)
    data, _ = load_dataset("folder", str(tmp_path), train_val_test_split="0.9,0.1")
    names = sample_names(data["train"], "train")
    assert set(names) <= {f"{name}.jpg" for name in NESTED} and len(names) == 9
    data, _ = load_dataset(in_memory(), labels=LABELS)
    assert sample_names(data["train"], "train")[3] == "train sample 3"


def test_what_is_no_dataset_is_refused_with_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be a name, a folder, .* not int"):
        load_dataset(7)
    with pytest.raises(UserError, match="is a folder: give --dataset_name folder --dataset_path"):
        load_dataset(tmp_path)
    in_memory().save_to_disk(str(tmp_path / "saved"))
    assert len(load_dataset(tmp_path / "saved")[0]["train"]) == 8
