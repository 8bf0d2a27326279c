"""Photos with EXIF orientations: their masks lie where they were drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from hfseg import load_dataset

ORIENTATIONS = range(1, 9)
SHAPES = {"landscape": (30, 40), "square": (32, 32)}


def drawn(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Ids without any symmetry: a mirrored or turned copy differs."""
    ids = np.zeros(shape, np.uint8)
    ids[: shape[0] // 2, : shape[1] // 3] = 1
    ids[2 + seed : 6 + seed, -8:] = 2
    return ids


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[ExifTags.Base.Orientation] = orientation
    return data


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def add(folder: Path, name: str, shape: str, orientation: int, mask: str) -> None:
    """A photo and its mask, drawn `upright`, as `stored`, or stored with `own` EXIF data."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    stored = drawn(SHAPES[shape], seed=orientation)
    photo = Image.fromarray(np.repeat((stored * 100)[..., None], 3, -1))
    photo.save(folder / "images" / f"{name}.png", exif=exif(orientation))
    ids = upright(stored, orientation) if mask == "upright" else stored
    options = {"exif": exif(orientation)} if mask == "own" else {}
    Image.fromarray(ids).save(folder / "masks" / f"{name}.png", **options)
    (folder / "classes.txt").write_text("ground\nwall\nroof\n")


def misplaced(folder: Path, split: str | None = None) -> int:
    """Number of samples whose ids are not those that the pixels of the image show."""
    data, _ = load_dataset("folder", str(folder), split, train_val_test_split="0.5,0.5")
    return sum(
        not np.array_equal(np.asarray(row["image"])[..., 0] // 100, np.asarray(row["label"]))
        for rows in data.values()
        for row in rows
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mask", ["upright", "stored", "own"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_mask_lies_on_its_photo_for_every_orientation(
    tmp_path: Path, shape: str, mask: str, orientation: int
) -> None:
    for index in range(3):
        add(tmp_path, f"{index}", shape, orientation, mask)
    # photos whose size shows in which frame the masks of this dataset were drawn
    add(tmp_path, "a", "landscape", 6, mask)
    add(tmp_path, "b", "landscape", 8, mask)
    assert misplaced(tmp_path) == 0


@pytest.mark.parametrize("mask", ["upright", "stored"])
def test_one_dataset_may_mix_all_orientations_and_shapes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mask: str
) -> None:
    for shape in SHAPES:
        for orientation in ORIENTATIONS:
            add(tmp_path, f"{shape}{orientation}", shape, orientation, mask)
    assert misplaced(tmp_path) == 0
    assert misplaced(tmp_path, split="validation") == 0
    words = "14 masks were drawn on photos as stored" if mask == "stored" else "can't confirm"
    assert words in caplog.text


def test_masks_whose_frame_nothing_shows_are_upright_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for orientation in (3, 6, 8):
        add(tmp_path, str(orientation), "square", orientation, "upright")
    assert misplaced(tmp_path) == 0
    assert "3 photos have an EXIF orientation that the size of their masks can't" in caplog.text
    assert "auto-orient" in caplog.text
