"""Image files that are small, and cost much to decode or are broken inside."""

import io
import struct
import zlib

from PIL import Image


def progressive_bomb(scans: int, size: tuple[int, int] = (1024, 1024)) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of RGB with these chunks (type, data) after its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pieces = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        crc = zlib.crc32(kind + data)
        pieces.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))
    return b"".join(pieces)
