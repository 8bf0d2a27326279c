"""What `to_rgb` reads, in training too, and what it says of what it can't."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_segformer import photo

from hfseg import load_dataset
from hfseg.data.image_io import to_rgb
from hfseg.errors import UserError


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "HSV"])
def test_every_color_mode_becomes_what_pillow_shows(tmp_path, mode):
    image = Image.fromarray(photo(20, 30)).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    read = to_rgb(image)
    assert read.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(read), expected)
    if mode != "HSV":  # no file format holds it
        name = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
        image.save(name)
        np.testing.assert_array_equal(np.asarray(to_rgb(str(name))), expected)


def test_a_transparent_palette_is_read_without_a_warning(recwarn, tmp_path):
    image = Image.fromarray(photo(20, 30)).convert("P")
    image.save(tmp_path / "image.png", transparency=bytes(range(256)))
    read = to_rgb(tmp_path / "image.png")
    np.testing.assert_array_equal(np.asarray(read), np.asarray(image.convert("RGB")))
    assert not [warning for warning in recwarn if "Palette" in str(warning.message)]


def test_sixteen_bits_of_gray_are_scaled_not_clipped(tmp_path):
    gray = np.linspace(0, 65535, 256 * 4, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    read = np.asarray(to_rgb(tmp_path / "gray.png"))
    np.testing.assert_array_equal(read[..., 0], np.rint(gray / 257))
    assert read.min() == 0 and read.max() == 255
    np.testing.assert_array_equal(read[..., 0], read[..., 2])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("nowhere.png", "there is no image file nowhere.png"),
        (np.zeros((4, 4), np.uint8), r"must be \(height, width, 3\) uint8, not \(4, 4\) uint8"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (Image.new("F", (4, 4)), "floating-point"),
        (7, "not int"),
    ],
)
def test_what_is_not_an_image_is_reported_in_one_sentence(image, words):
    with pytest.raises(UserError, match=words) as caught:
        to_rgb(image)
    assert "\n" not in str(caught.value)


def test_a_damaged_or_foreign_file_is_reported_in_one_sentence(tmp_path):
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(UserError, match=r"notes\.png is not an image"):
        to_rgb(tmp_path / "notes.png")
    Image.fromarray(photo(64, 64)).save(tmp_path / "whole.png")
    half = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(half[: len(half) // 2])
    with pytest.raises(UserError, match=r"half\.png cannot be read"):
        to_rgb(tmp_path / "half.png")


def twelve_bit_tiff(path: Path, values: np.ndarray) -> None:
    """Two values in three bytes; Pillow reads such files but does not write them."""
    height, width = values.shape
    pairs = values.reshape(-1, 2).astype(np.uint16)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1
    )
    pixels = packed.astype(np.uint8).tobytes()
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    tags[279] = len(pixels)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    path.write_bytes(header + pixels + struct.pack("<H", len(tags)) + entries + bytes(4))


def sixteen_bit_png(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.astype(np.uint16)).save(path)


def sixteen_bit_tiff(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.astype(np.uint16)).save(path)


@pytest.mark.parametrize(
    ("write", "suffix", "largest"),
    [
        (sixteen_bit_png, ".png", 65535),
        (sixteen_bit_tiff, ".tif", 65535),
        (twelve_bit_tiff, ".tif", 4095),
    ],
)
@pytest.mark.parametrize("brightest", [200 / 65535, 0.06, 0.5, 1.0])
def test_deep_gray_has_the_same_brightness_in_training_and_in_inference(
    tmp_path: Path,
    write: Callable[[Path, np.ndarray], None],
    suffix: str,
    largest: int,
    brightest: float,
) -> None:
    values = np.linspace(0, brightest * largest, 32 * 32).round().reshape(32, 32)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for name in "ab":
        write(tmp_path / "images" / f"{name}{suffix}", values)
        Image.fromarray((values > values.mean()).astype(np.uint8)).save(
            tmp_path / "masks" / f"{name}.png"
        )
    data, _ = load_dataset("folder", str(tmp_path), train_val_test_split="0.5,0.5")
    trained = np.asarray(data["train"][0]["image"])
    predicted = np.asarray(to_rgb(tmp_path / "images" / f"a{suffix}"))
    np.testing.assert_array_equal(trained, predicted)
    np.testing.assert_array_equal(predicted[..., 0], np.rint(values * (255 / largest)))


@pytest.mark.parametrize("name", ["large.png", "large.jpg", "large.tif", "packed.tif"])
def test_an_image_beyond_the_limit_of_pillow_is_read_if_its_size_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    image = Image.new("RGB", (60, 50), "white")
    image.save(tmp_path / name, compression="tiff_lzw" if name == "packed.tif" else None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert to_rgb(tmp_path / name, any_size=True).getpixel((59, 49)) == (255, 255, 255)
    with pytest.raises(UserError, match=r"large|packed.* too many pixels .*--sliding_window"):
        to_rgb(tmp_path / name)  # the limit still holds
