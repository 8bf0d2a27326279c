"""What decoding one file may cost: pixels, scans and time.

Pillow bounds the pixels. A progressive JPEG may also repeat its scans: each takes about
ten bytes and makes libjpeg process all coefficients again, so that 800 kB take minutes. Anything
else that a decoder can be made to do is bounded by a process that is killed when its time is up.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from PIL import Image, features

from hfseg.errors import UserError

MAX_SCANS = 200
"""Of a progressive JPEG; cameras and editors write about ten."""

TOO_MANY_PIXELS = "has too many pixels to be opened safely"
"""What is said of an image beyond Pillow's limit."""

_NO_IMAGE = "This file cannot be read as an image: try a PNG or JPEG."
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_START_SECONDS = 120.0
"""For the start of a process that decodes: on a busy machine its imports alone take seconds."""
_MEMORY = 4 << 30  # bytes of address space of the process that decodes


def count_scans(jpeg: bytes) -> int:
    """How many scans a JPEG holds, by its markers (ITU-T T.81, B.1.1.4)."""
    scans, position = 0, 2
    while found := _MARKER.search(jpeg, position):
        marker, position = jpeg[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _START_OF_SCAN
        position += max(2, int.from_bytes(jpeg[position : position + 2], "big"))
    return scans


def check_scans(image: Image.Image, name: str) -> None:
    """Raise a UserError if an opened progressive JPEG has more than MAX_SCANS scans."""
    file = getattr(image, "fp", None)
    if file is None or not image.info.get("progressive"):
        return
    position = file.tell()
    file.seek(0)
    scans = count_scans(file.read())
    file.seek(position)
    if scans > MAX_SCANS:
        raise UserError(
            f"{name} is a JPEG with {scans} scans, which would take too long to decode "
            f"(at most {MAX_SCANS} are allowed): save it as a baseline JPEG"
        )


def readable_formats() -> tuple[str, ...]:
    """The formats of photos that this Pillow decodes: no SVG, PostScript or TIFF."""
    formats = ["PNG", "JPEG", "WEBP", "GIF", "BMP"]
    if features.check("avif"):
        formats.append("AVIF")
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return tuple(formats)
    register_heif_opener()
    return (*formats, "HEIF")


class DecodingProcess:
    """A process that decodes files of strangers, killed when one of them takes too long.

    Args:
        code: Python that imports what it needs, writes one line to stdout, and then decodes.
        arguments: its command line.
    """

    def __init__(self, code: str, *arguments: str) -> None:
        package = Path(__file__).resolve().parents[2]  # also where hfseg is not installed
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(package)!r}); {code}",
             *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders write there what a file makes them write
        )  # fmt: skip
        with self.killed_after(_START_SECONDS):
            self.read_line()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[threading.Event]:
        """Kill the process if the block takes longer; the event says whether it was."""
        expired = threading.Event()

        def give_up() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()

    def write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def read_line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # a line that nobody read
                    pipe.close()


class ImageDecoder:
    """Decodes untrusted files in a separate process, one at a time.

    Args:
        seconds: how long one file may take before the process is killed.
        max_pixels: of a file, read from its header before anything is unpacked.
    """

    def __init__(self, seconds: float, max_pixels: int) -> None:
        self.seconds = seconds
        self.max_pixels = max_pixels
        self._process: DecodingProcess | None = None
        self._lock = threading.Lock()

    def read(
        self, path: str | Path, max_side: int | None = None, photo: bool = True
    ) -> tuple[Image.Image, tuple[int, int]]:
        """One image, decoded.

        Args:
            max_side: pixels; a larger image is scaled down.
            photo: upright RGB; otherwise a mask, whose stored values are kept.

        Returns:
            The image, and its (width, height) before it was scaled.

        Raises:
            UserError: not an image, too many pixels or scans, or it took too long.
        """
        request = {"path": str(path), "max_side": max_side, "photo": photo}
        with self._lock:
            process = self._running()
            with process.killed_after(self.seconds) as expired:
                try:
                    answer, pixels = _exchange(process, {**request, "max_pixels": self.max_pixels})
                except (OSError, ValueError):  # killed, or crashed
                    process.close()
                    if expired.is_set():
                        raise UserError(
                            f"Decoding this image took more than {self.seconds:g} seconds: "
                            "save it again as PNG or JPEG."
                        ) from None
                    raise UserError(_NO_IMAGE) from None
        if "error" in answer:
            raise UserError(answer["error"])
        image = Image.frombytes(answer["mode"], tuple(answer["size"]), pixels)
        if answer["palette"]:
            image.putpalette(answer["palette"])
        return image, tuple(answer["whole"])

    def _running(self) -> DecodingProcess:
        if self._process is None or not self._process.alive:
            self._process = DecodingProcess("from hfseg.data.decode_limits import _serve; _serve()")
        return self._process


def _exchange(process: DecodingProcess, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    process.write(json.dumps(request).encode() + b"\n")
    answer = json.loads(process.read_line())
    length = answer.get("bytes", 0)
    pixels = process.read(length)
    if len(pixels) != length:
        raise ValueError("the process ended in the middle of an image")
    return answer, pixels


def _serve() -> None:
    """The loop of the process: one line of JSON in, one line and the pixels out."""
    import hfseg.data.image_io  # noqa: F401 - now, not while the first image waits

    out: IO[bytes] = sys.stdout.buffer
    sys.stdout = sys.stderr
    limit_memory()
    formats = readable_formats()
    out.write(b"ready\n")
    out.flush()
    for line in sys.stdin.buffer:
        try:
            answer, pixels = _decoded(json.loads(line), formats)
        except UserError as error:
            answer, pixels = {"error": str(error)}, b""
        except Image.DecompressionBombError:
            answer, pixels = {"error": "The image has too many pixels: scale it down."}, b""
        except Exception:  # decoders raise anything on broken files
            answer, pixels = {"error": _NO_IMAGE}, b""
        out.write(json.dumps({**answer, "bytes": len(pixels)}).encode() + b"\n" + pixels)
        out.flush()


def limit_memory() -> None:
    """Bound the memory of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _decoded(request: dict[str, Any], formats: tuple[str, ...]) -> tuple[dict[str, Any], bytes]:
    from hfseg.data.image_io import to_rgb

    path = Path(request["path"])
    if not path.is_file():
        raise UserError("This file is no longer on the server: upload it again.")
    Image.init()  # otherwise only some of the formats are known
    image: Image.Image = Image.open(path, formats=formats)
    width, height = image.size
    if width * height > request["max_pixels"]:
        raise UserError(
            f"The image has {width} × {height} pixels, but only "
            f"{request['max_pixels'] // 1_000_000} million are allowed: scale it down."
        )
    check_scans(image, "The image")
    image.load()
    if request["photo"]:
        image = to_rgb(image)
    elif image.mode not in ("L", "P", "I", "I;16", "RGB", "RGBA"):
        image = image.convert("RGB")
    whole = image.size
    if request["max_side"] and max(whole) > request["max_side"]:
        image.thumbnail((request["max_side"], request["max_side"]))
    palette = image.getpalette() if image.mode == "P" else None
    answer = {"mode": image.mode, "size": image.size, "whole": whole, "palette": palette}
    return answer, image.tobytes()
