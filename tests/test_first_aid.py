"""Masks that are read without an error and still wrong: stopped, with the flag that fixes it."""

import io
import logging
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from PIL import Image

from hfseg import load_dataset
from hfseg.data.label_map import LabelMap, parse_label_map
from hfseg.data.rows import look_of
from hfseg.data.specks import has_many_specks
from hfseg.errors import UserError

NAMES = ("ground", "wall", "roof", "door")


def own_data(folder: Path, values: tuple[int, ...], names: tuple[str, ...], count: int = 6) -> Path:
    """Photos of noise, and masks of stripes with these values."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    stripes = np.tile(np.repeat(np.array(values, np.uint8), 6), (20, 1))
    for index in range(count):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 255, (*stripes.shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        Image.fromarray(stripes).save(folder / "masks" / f"{index}.png")
    if names:
        (folder / "classes.txt").write_text("\n".join(names) + "\n")
    return folder


def stopped(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_dataset("folder", str(folder))
    return str(caught.value)


def offered(sentence: str) -> list[str]:
    """The values of the first `--label_map` in a sentence."""
    words = shlex.split(sentence.split("--label_map ")[1].replace("'", ""))
    entries = []
    for word in words:
        if "=" not in word:
            break
        entries.append(word.strip(",;:."))
    return entries


def rows_of(folder: Path, **options: object) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, and the first row of the first mask."""
    data, labels = load_dataset("folder", str(folder), **options)
    return labels.names, np.asarray(data["train"][0]["label"])[0, ::6].tolist()


@pytest.mark.parametrize(
    ("values", "names", "words", "ids"),
    [
        ((0, 255), NAMES[:2], "50 % of the pixels are 255, which is read as ignored", [0, 1]),
        ((0, 1, 255), NAMES[:3], "class 'roof' never occurs", [0, 1, 2]),
        ((0, 85, 170, 255), NAMES, "contain 0, 85, 170, 255, as if", [0, 1, 2, 3]),
        ((0, 128, 255), NAMES[:3], "contain 0, 128, 255, as if", [0, 1, 2]),
        ((0, 50, 100), NAMES[:3], "contain 0, 50, 100, as if", [0, 1, 2]),
        ((1, 2, 3), NAMES[:3], "ids seem to start at 1: the masks contain 1, 2, 3", [0, 1, 2]),
        ((1, 2), NAMES[:3], "id 0 ('ground') never occurs in any mask", [0, 1]),
    ],
)
def test_masks_of_other_values_stop_with_the_flag_that_fixes_them(
    tmp_path: Path, values: tuple[int, ...], names: tuple[str, ...], words: str, ids: list[int]
) -> None:
    folder = own_data(tmp_path / "data", values, names)
    sentence = stopped(folder)
    assert words in sentence and "\n" not in sentence
    assert rows_of(folder, label_map=offered(sentence)) == (names, ids)


def test_what_is_meant_can_be_said_instead(tmp_path: Path) -> None:
    ignored = own_data(tmp_path / "ignored", (0, 255), NAMES[:2])
    assert rows_of(ignored, label_map={255: "ignore"}) == (NAMES[:2], [0, 255])
    without_ground = own_data(tmp_path / "without", (1, 2), NAMES[:3])
    assert rows_of(without_ground, label_map={0: "ground"}) == (NAMES[:3], [1, 2])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 255), "only 0 and 255"),
        ((0, 85, 170), "0, 85, 170, as if"),
        ((0,), "no class but 0"),
        ((1, 2, 3), "ids seem to start at 1: the masks contain 1, 2, 3 but never 0"),
    ],
)
def test_unnamed_masks_of_such_values_stop_too(
    tmp_path: Path, values: tuple[int, ...], words: str
) -> None:
    assert words in stopped(own_data(tmp_path / "data", values, ()))


def test_a_label_map_names_the_classes_of_masks_without_a_table(tmp_path: Path) -> None:
    folder = own_data(tmp_path / "data", (0, 255), ())
    names, ids = rows_of(folder, label_map=["0=background", "255=road"])
    assert names == ("background", "road") and ids == [0, 1]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["255"], "--label_map 255: expected VALUE=CLASS"),
        (["x=road"], "--label_map x=road: expected VALUE=CLASS"),
        ({-1: "road"}, "--label_map -1=road: expected VALUE=CLASS"),
        ('1="road', '--label_map 1="road: No closing quotation'),
        (["1=a", "1=b"], "1 is both 'a' and 'b'"),
    ],
)
def test_a_wrong_label_map_is_named(entries: LabelMap, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_label_map(entries)


def test_a_label_map_to_an_unknown_class_lists_the_classes(tmp_path: Path) -> None:
    folder = own_data(tmp_path / "data", (0, 1), NAMES[:2])
    with pytest.raises(UserError, match="'sky' is not one of the classes ground, wall"):
        load_dataset("folder", str(folder), label_map={1: "sky"})


def test_swapped_images_and_masks_are_noticed(tmp_path: Path) -> None:
    for name, names in (("named", NAMES[:2]), ("unnamed", ())):
        folder = own_data(tmp_path / name, (0, 1), names)
        (folder / "images").rename(folder / "photos")
        (folder / "masks").rename(folder / "images")
        (folder / "photos").rename(folder / "masks")
        assert "images and masks seem to be swapped" in stopped(folder)


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": recompressed,
    "smaller": lambda image: image.resize((320, 240)),
    "brighter": lambda image: image.point(lambda value: min(255, value + 20)),
}


def scene(seed: int) -> Image.Image:
    from hfseg.data.toyscapes import draw_scene

    return Image.fromarray(draw_scene("train", seed)[0]).resize((512, 320))


@pytest.mark.parametrize("change", CHANGES)
def test_near_duplicates_across_splits_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    for split, seeds in (("train", range(6)), ("val", range(4, 9))):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for seed in seeds:
            image = scene(seed)
            image = CHANGES[change](image) if split == "val" else image
            image.save(tmp_path / split / "images" / f"{split}{seed}.png")
            ids = np.arange(image.width * image.height).reshape(image.height, -1) % 2
            mask = Image.fromarray(ids.astype(np.uint8))
            mask.save(tmp_path / split / "masks" / f"{split}{seed}.png")
    load_dataset("folder", str(tmp_path))
    said = "2 of 5 images of validation are near-duplicates of training images"
    assert f"{said}, so scores are too good: move them into one split" in caplog.text


def test_images_without_structure_have_no_look() -> None:
    assert look_of(Image.new("RGB", (64, 48), (40, 50, 60))) is None
    assert look_of(scene(0)) != look_of(scene(1))


def test_masks_of_one_class_and_absent_classes_are_reported_before_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = own_data(tmp_path / "data", (0, 0), NAMES[:2], count=10)
    Image.fromarray(np.ones((20, 12), np.uint8)).save(folder / "masks" / "3.png")
    load_dataset("folder", str(folder))
    assert "masks contain only 'ground': they may not be labeled yet" in caplog.text
    Image.fromarray(np.zeros((20, 12), np.uint8)).save(folder / "masks" / "3.png")
    load_dataset("folder", str(folder))
    assert "class 'wall' (1) never occurs" in caplog.text
    caplog.clear()
    (folder / "classes.txt").write_text("\n".join((*NAMES[:2], "roof")))
    load_dataset("folder", str(folder))
    assert "2 of 3 classes never occur: 'wall' (1), 'roof' (2)" in caplog.text


def test_specks_are_reported_before_training_with_where_they_come_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = own_data(tmp_path / "data", (0, 1), NAMES[:2], count=10)
    load_dataset("folder", str(folder))
    assert "specks" not in caplog.text
    specks = np.indices((20, 12)).sum(0) % 2
    for index in range(10):
        Image.fromarray(specks.astype(np.uint8)).save(folder / "masks" / f"{index}.png")
    load_dataset("folder", str(folder))
    line = "10 of 10 masks have many specks of a single pixel (9.png has the most, 240); a resize"
    assert caplog.text.count("specks") == caplog.text.count(line) == 1
    assert not has_many_specks(225, 960 * 720)  # the worst of CamSeq01
    assert not has_many_specks(91, 240 * 180)  # and at a quarter of its size


def test_the_classes_and_what_is_ignored_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hfseg")
    folder = own_data(tmp_path / "data", (0, 1, 2), ("ground", "wall", "unlabelled"))
    load_dataset("folder", str(folder))
    assert "2 classes: 0 ground, 1 wall; ignored: 255, 'unlabelled' (by its name)" in caplog.text


def test_dark_images_of_16_bits_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = own_data(tmp_path / "data", (0, 1), NAMES[:2])
    for file in (folder / "images").iterdir():
        gray = np.linspace(0, 4000, 20 * 12).reshape(20, 12).astype(np.uint16)
        Image.fromarray(gray).save(file)
    load_dataset("folder", str(folder))
    assert "6 16-bit images use only 6.1 % of their range and are nearly black" in caplog.text


def test_several_problems_are_counted_with_the_ways_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=12)
    for index in range(5):
        Image.new("L", (64, 40 + index)).save(folder / "masks" / f"{index:03d}.png")
    sentence = stopped(folder)
    assert sentence.startswith("5 of 12 samples can't be used:")
    assert "000.png" in sentence and "002.png" in sentence and "003.png" not in sentence
    assert "and 2 more" in sentence
    assert "hfseg inspect" in sentence and "--on_bad_sample skip" in sentence


def test_data_of_one_class_stop_since_any_model_would_score_one(tmp_path: Path) -> None:
    ignored = stopped(own_data(tmp_path / "ignored", (0, 255), ("pet",)))
    assert "'pet' is the only class" in ignored and "50 % of the pixels are 255" in ignored
    (tmp_path / "ignored/classes.txt").write_text("background\npet\n")  # as it says
    assert rows_of(tmp_path / "ignored", label_map=offered(ignored))[1] == [0, 1]
    assert "255" not in stopped(own_data(tmp_path / "plain", (0, 0), ("pet",)))
    with pytest.raises(UserError, match="only class"):
        load_dataset("folder", str(tmp_path / "plain"), label_map={0: "pet"})


def test_splits_too_small_to_score_on_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="hfseg"):
        load_dataset("folder", str(own_data(tmp_path / "data", (0, 1), NAMES[:2], count=12)))
    assert (
        "validation has only 1 image and test has only 1 image, so their scores are not"
        in caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="hfseg"):
        load_dataset("folder", str(own_data(tmp_path / "more", (0, 1), NAMES[:2], count=60)))
    assert "has only" not in caplog.text
