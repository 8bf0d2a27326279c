"""Files that take hours to decode are refused; ones with broken extras are read."""

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg.inference.images import to_rgb
from hfseg.errors import UserError


def progressive_bomb(scans: int, size: tuple[int, int] = (1024, 1024)) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def photo_with_exif(exif: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), 120, np.uint8)).save(buffer, "JPEG", exif=exif)
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


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 40,
        b"Exif\0\0XX\0*garbage",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 99),
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 2, 1 << 30, 8),
        b"Exif\0\0",
        b"Exif\0\0II*\0",
    ],
    ids=str,
)
def test_a_jpeg_with_a_broken_exif_block_keeps_its_pixels(exif: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo_with_exif(exif))
    image = to_rgb(path)
    assert image.size in ((60, 40), (40, 60)) and abs(np.asarray(image).mean() - 120) < 2
