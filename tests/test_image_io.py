"""What `to_rgb` reads, and what it says of what it can't."""

import numpy as np
import pytest
from PIL import Image
from tiny_segformer import photo

from hfseg.data.image_io import to_rgb
from hfseg.errors import UserError


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "HSV"])
def test_every_colour_mode_becomes_what_pillow_shows(tmp_path, mode):
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


def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path):
    grey = np.linspace(0, 65535, 256 * 4, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    read = np.asarray(to_rgb(tmp_path / "grey.png"))
    np.testing.assert_array_equal(read[..., 0], np.rint(grey / 257))
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
def test_what_is_not_an_image_is_told_in_one_sentence(image, words):
    with pytest.raises(UserError, match=words) as caught:
        to_rgb(image)
    assert "\n" not in str(caught.value)


def test_a_damaged_or_foreign_file_is_told_in_one_sentence(tmp_path):
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(UserError, match=r"notes\.png is not an image"):
        to_rgb(tmp_path / "notes.png")
    Image.fromarray(photo(64, 64)).save(tmp_path / "whole.png")
    half = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(half[: len(half) // 2])
    with pytest.raises(UserError, match=r"half\.png cannot be read"):
        to_rgb(tmp_path / "half.png")
