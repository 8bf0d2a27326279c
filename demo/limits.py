"""Limits on the size, number and duration of requests; anything beyond is refused."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from PIL import Image
from torch import OutOfMemoryError

from hfseg.data.decode_limits import ImageDecoder
from hfseg.errors import UserError

MAX_UPLOAD = 25 << 20
"""Bytes of a request that carries a file; about a phone photo of 50 megapixels."""
MAX_BODY = 1 << 20
"""Bytes of any other request."""
MAX_PIXELS = 50_000_000
"""Of an image, read from its header before anything is unpacked."""
MAX_SIDE = 1536
"""Pixels; a larger image is scaled down before a model sees it, so that one visitor's photo takes
seconds on a CPU and cannot use up the memory."""
MAX_SAM_SIDE = 1024
"""As MAX_SIDE, where SAM may give some hundred masks of the image's size."""
MAX_VIDEO_SIDE = 640
"""Pixels; larger frames are scaled down."""
MAX_FRAMES = 300
"""Of a video; the rest is left out."""
MAX_IMAGES = 50
"""In one batch."""
MAX_POINTS = 50
MAX_NAMES = 30
"""Classes that SAM 3 is asked for; each is a pass of its decoder."""
MAX_NAME_LENGTH = 60
MAX_POINTS_PER_SIDE = 32

SECONDS = 120
"""For one task on the device."""
DECODE_SECONDS = 15
"""For the decoding of one file."""
UPLOAD_SECONDS = 120
KEPT_SECONDS = 3600
"""How long uploads and results stay in the temporary folder."""
MAX_KEPT = 2 << 30
"""Bytes in the temporary folder."""
MAX_FILES = 20_000
"""In it; looking through more of them would slow the page down."""
MAX_PER_CLIENT = 256 << 20
"""Bytes of uploads of one address."""
MAX_WAITING = 32
"""Requests in the queue; further requests are refused."""

_T = TypeVar("_T")

_decoder = ImageDecoder(DECODE_SECONDS, MAX_PIXELS)


def open_photo(path: str | None, max_side: int = MAX_SIDE) -> tuple[Image.Image, str]:
    """An upload as an upright RGB image for a model.

    Returns:
        The image, and a note for the visitor if it was scaled down (else empty).

    Raises:
        UserError: nothing was uploaded, or it can't be read within the limits.
    """
    photo, whole = _decoder.read(_given(path), max_side)
    if photo.size == whole:
        return photo, ""
    return photo, f"Scaled from {whole[0]} × {whole[1]} to {photo.width} × {photo.height} pixels."


def open_mask(path: str | None) -> Image.Image:
    """An uploaded mask with its stored values, at its own size. Errors as of `open_photo`."""
    return _decoder.read(_given(path), photo=False)[0]


def own_size(path: str | None) -> tuple[int, int]:
    """(width, height) of an upload when upright. Errors as of `open_photo`."""
    return _decoder.read(_given(path), max_side=1)[1]


def _given(path: str | None) -> str:
    if not path:
        raise UserError("Choose an image first.")
    return path


def check_number_of_points(points: Sequence[object]) -> None:
    """Raise a UserError if there are too many."""
    if len(points) > MAX_POINTS:
        raise UserError(f"There are {len(points)} points, but only {MAX_POINTS} are allowed.")


def check_count(files: Sequence[object], most: int, what: str) -> None:
    """Raise a UserError for none or too many."""
    if not files:
        raise UserError(f"There are no {what}: send at least one.")
    if len(files) > most:
        raise UserError(f"There are {len(files)} {what}, but only {most} are allowed.")


class Device:
    """Runs one task at a time, and limits the waiting time.

    A thread can't be stopped, but since there is only one, abandoned tasks delay others without
    piling up.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._thread = ThreadPoolExecutor(1, "device")

    def run(self, work: Callable[..., _T], *args: object) -> _T:
        """The result of `work(*args)`.

        Raises:
            UserError: it took too long, or ran out of memory.
        """
        future: Future[_T] = self._thread.submit(work, *args)
        try:
            return future.result(self.seconds)
        except TimeoutError:
            future.cancel()
            raise UserError(
                f"This took more than {self.seconds:g} seconds and was stopped: "
                "try a smaller image, or try again later."
            ) from None
        except (MemoryError, OutOfMemoryError):
            raise UserError(
                "The image does not fit into the memory of this server: scale it down."
            ) from None
