"""Bad data is told in one sentence with file and value; odd but good data is read right."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from PIL import Image
from test_decode_limits import progressive_bomb

from hfseg import load_dataset
from hfseg.errors import UserError


def jpeg_mask(data: Path) -> tuple[str, str]:
    (data / "label_colors.txt").write_text("0 0 0 ground\n200 0 0 wall\n0 200 0 roof\n")
    (data / "classes.txt").unlink()
    colors = np.zeros((256, 3), np.uint8)
    colors[1], colors[2] = (200, 0, 0), (0, 200, 0)
    for file in sorted((data / "masks").iterdir()):
        picture = Image.fromarray(colors[np.array(Image.open(file))])
        picture.save(file)
        if file.stem == "003":
            picture.save(file.with_suffix(".jpg"), quality=75)
            file.unlink()
    return "003.jpg", "JPEG"


def unknown_id(data: Path) -> tuple[str, str]:
    mask = np.array(Image.open(data / "masks" / "003.png"))
    mask[-1, -1] = 7
    Image.fromarray(mask).save(data / "masks" / "003.png")
    return "003.png", "value 7 occurs in 1 pixel but"


def other_size(data: Path) -> tuple[str, str]:
    Image.new("L", (64, 47)).save(data / "masks" / "003.png")
    return "003.png", "64 x 47 but its image 003.png is 64 x 48"


def truncated_image(data: Path) -> tuple[str, str]:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    (data / "images" / "003.png").unlink()
    (data / "images" / "003.jpg").write_bytes(buffer.getvalue()[:1200])
    return "003.jpg", "truncated"


def no_image(data: Path) -> tuple[str, str]:
    (data / "images" / "003.png").write_text("<html>404</html>")
    return "003.png", "can't be read as an image"


def cut_off_so_that_the_decoder_itself_fails(data: Path) -> tuple[str, str]:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "QOI")  # its decoder raises IndexError
    (data / "images" / "003.png").write_bytes(buffer.getvalue()[:16])
    return "003.png", "can't be read as an image"


def too_many_pixels(data: Path) -> tuple[str, str]:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"")
    (data / "images" / "003.png").write_bytes(png)
    return "003.png", "too many pixels"


def thousands_of_scans(data: Path) -> tuple[str, str]:
    (data / "images" / "003.png").unlink()
    (data / "images" / "003.jpg").write_bytes(progressive_bomb(1000, (64, 48)))
    return "003.jpg", "a JPEG with 1"


def missing_mask(data: Path) -> tuple[str, str]:
    (data / "masks" / "003.png").unlink()
    return "003.png", "no mask"


DAMAGES = [
    jpeg_mask, unknown_id, other_size, truncated_image, no_image,
    cut_off_so_that_the_decoder_itself_fails, too_many_pixels, thousands_of_scans, missing_mask,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_sample_stops_with_file_and_value_or_is_left_out(
    tmp_path: Path, caplog, damage: Callable[[Path], tuple[str, str]]
) -> None:
    data = make_folder(tmp_path / "data", count=8)
    file, words = damage(data)
    with pytest.raises(UserError) as caught:
        load_dataset("folder", str(data))
    assert file in str(caught.value) and words in str(caught.value)
    assert "\n" not in str(caught.value)
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        rest, _ = load_dataset("folder", str(data), on_bad_sample="skip")
        assert sum(len(rows) for rows in rest.values()) == 7
        assert "left out 1 of 8" in caplog.text and file in caplog.text and words in caplog.text


def test_two_classes_with_the_same_color_are_refused(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=3)
    (data / "classes.txt").unlink()
    (data / "label_colors.txt").write_text("0 0 0 ground\n9 9 9 wall\n9 9 9 roof\n")
    with pytest.raises(UserError, match="'wall' and 'roof' have the same color"):
        load_dataset("folder", str(data))
    (data / "label_colors.txt").unlink()
    (data / "classes.csv").write_text("name,r,g,b\nground,0,0,0\nwall,9,9,9\nroof,9,9,9\n")
    with pytest.raises(UserError, match=r"classes\.csv: 'wall' and 'roof' have the same color"):
        load_dataset("folder", str(data))


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no folder images/"):
        load_dataset("folder", str(tmp_path))
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="contains no images"):
        load_dataset("folder", str(tmp_path))


def test_spaces_and_other_letters_in_paths_work(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "Übung 1, späť", count=5)
    for kind in ("images", "masks"):
        (data / kind / "003.png").rename(data / kind / "Straße (3) 北.png")
    rows, _ = load_dataset("folder", str(data))
    assert sum(len(part) for part in rows.values()) == 5
    assert all(row["image"].size == (64, 48) for part in rows.values() for row in part)


# ---- odd, but right ----


def one_sample(folder: Path, write: Callable[[Path], None], mask: np.ndarray) -> dict:
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name in ("a", "b"):
        write(folder / "images" / name)
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    (folder / "classes.txt").write_text("left\nright\n")
    data, _ = load_dataset("folder", str(folder), train_val_test_split="0.5,0.5")
    return data["train"][0]


GRADIENT = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
HALVES = (np.arange(40) >= 20).astype(np.uint8) * np.ones((30, 1), np.uint8)


def as_cmyk(path: Path) -> None:
    picture = Image.fromarray(np.repeat(GRADIENT[..., None], 3, -1)).convert("CMYK")
    picture.save(path.with_suffix(".jpg"), quality=95)


def as_sixteen_bits(path: Path) -> None:
    Image.fromarray(GRADIENT.astype(np.uint16) * 257).save(path.with_suffix(".png"))


def as_palette_with_alpha(path: Path) -> None:
    picture = Image.fromarray(GRADIENT).convert("P")
    picture.putpalette([c for value in range(256) for c in (value, value, value)])
    picture.save(path.with_suffix(".png"), transparency=bytes([0] * 10 + [255] * 246))


@pytest.mark.parametrize("write", [as_cmyk, as_sixteen_bits, as_palette_with_alpha])
def test_unusual_images_have_the_brightness_they_show(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    image = one_sample(tmp_path, write, HALVES)["image"]
    assert image.mode == "RGB"
    difference = np.asarray(image).astype(int) - GRADIENT[..., None]
    assert np.abs(difference).max() <= 4
