"""Files that take hours to decode are refused; ones with broken extras are read."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hostile_images import png, progressive_bomb
from PIL import Image, ImageOps, features

from hfseg.data.decode_limits import MAX_SCANS, ImageDecoder
from hfseg.data.image_io import to_rgb
from hfseg.errors import UserError


def photo_with_exif(exif: bytes, **options: object) -> bytes:
    buffer = io.BytesIO()
    photo = Image.fromarray(np.full((40, 60, 3), 120, np.uint8))
    photo.save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


def test_a_progressive_jpeg_of_thousands_of_scans_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jpg"
    path.write_bytes(progressive_bomb(60_000))
    assert path.stat().st_size < 1 << 20
    start = time.monotonic()
    with pytest.raises(UserError, match=r"bomb\.jpg .* 60\d\d\d scans"):
        to_rgb(path)
    assert time.monotonic() - start < 60  # decoding it takes minutes


def test_an_ordinary_progressive_jpeg_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.jpg", progressive=True)
    assert to_rgb(tmp_path / "a.jpg").size == (64, 48)


def orientation_and(tag: int, kind: int, count: int, value: int) -> bytes:
    """An EXIF block that turns the image by 90 degrees, and holds another entry."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", tag, kind, count, value)
    return b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(34)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 40,
        b"Exif\0\0XX\0*garbage",
        orientation_and(0x0131, 11, 1, 50),
        orientation_and(0x8825, 6, 1, 0xFFFFFFFF),
        orientation_and(0x011A, 8, 1, 0xFFFFFFFF),
        orientation_and(0x011A, 2, 2, 50),
    ],
    ids=["no entries", "no byte order", "software", "GPS", "resolution", "text as resolution"],
)
def test_a_jpeg_with_a_broken_exif_block_keeps_its_pixels(exif: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo_with_exif(exif))
    image = to_rgb(path)
    turned = b"\x12\x01\x03\0" in exif
    assert image.size == ((40, 60) if turned else (60, 40))
    assert abs(np.asarray(image).mean() - 120) < 2


GRAY_ROWS = (b"IDAT", zlib.compress(40 * (b"\0" + 60 * b"\x78\x78\x78")))
"""Pixels of a PNG like the photo above."""


@pytest.mark.parametrize(
    "content",
    [
        # with a resolution, Pillow leaves the block to whoever asks for it
        photo_with_exif(b"Exif\0\0XX\0*garbage", dpi=(72, 72)),
        png(60, 40, (b"eXIf", b"MM\0*"), GRAY_ROWS),
        png(60, 40, (b"tEXt", b"Raw profile type exif\0\nexif\n4\nno hex"), GRAY_ROWS),
    ],
    ids=["SyntaxError", "struct.error", "ValueError"],
)
def test_whatever_pillow_raises_for_a_broken_exif_block_the_pixels_are_used(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(content)
    image = to_rgb(path)
    assert image.size == (60, 40)
    assert abs(np.asarray(image).mean() - 120) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone_as_pillow_undoes_it(orientation: int) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8))
    image.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.asarray(expected))


@pytest.fixture
def decoder() -> ImageDecoder:
    return ImageDecoder(seconds=30, max_pixels=10_000_000)


def test_another_process_decodes_the_same_pixels(decoder: ImageDecoder, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image, whole = decoder.read(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(image), pixels)
    small, whole = decoder.read(tmp_path / "a.png", max_side=25)
    assert small.size == (25, 15) and whole == (50, 30)


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB", "RGBA"])
def test_a_mask_keeps_its_stored_values(decoder: ImageDecoder, tmp_path: Path, mode: str) -> None:
    mask = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).convert(mode)
    if mode == "P":
        mask.putpalette(list(range(200, 236)))
    mask.save(tmp_path / "mask.png")
    read, _ = decoder.read(tmp_path / "mask.png", photo=False)
    assert read.mode == mode
    np.testing.assert_array_equal(np.asarray(read), np.asarray(mask))
    if mode == "P":
        assert read.getpalette()[:36] == list(range(200, 236))


def test_decoding_that_takes_too_long_is_killed_and_the_next_image_is_read(tmp_path: Path) -> None:
    (tmp_path / "slow.jpg").write_bytes(progressive_bomb(MAX_SCANS - 20, (3000, 3000)))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    decoder = ImageDecoder(seconds=30, max_pixels=10_000_000)
    decoder.read(tmp_path / "a.png")  # the process is up
    decoder.seconds = 0.1
    with pytest.raises(UserError, match=r"took more than 0\.1 seconds"):
        decoder.read(tmp_path / "slow.jpg")
    decoder.seconds = 30
    assert decoder.read(tmp_path / "a.png")[0].size == (8, 8)


def test_the_start_of_the_process_takes_nothing_of_the_time_for_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(4)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert ImageDecoder(3, 10_000_000).read(tmp_path / "a.png")[0].size == (8, 8)


def test_avif_is_read_where_pillow_can(decoder: ImageDecoder, tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("AVIF: install a Pillow that reads it")
    Image.new("RGB", (32, 24), "red").save(tmp_path / "a.avif")
    assert decoder.read(tmp_path / "a.avif")[0].size == (32, 24)
