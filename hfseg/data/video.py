"""Videos as RGB frames, and RGB frames as videos. OpenCV reads and writes them."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from hfseg.data.decode_limits import DecodingProcess, limit_memory
from hfseg.errors import UserError

SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"))
"""What counts as a video in a folder."""

_DEFAULT_RATE = 25.0
_FASTEST = 240.0  # frames per second; a container may claim anything


class VideoInfo(NamedTuple):
    """What a container states; `frames` is an estimate, 0 if unknown."""

    width: int
    height: int
    rate: float
    frames: int


class Video:
    """The frames of a video file, from the first to the last.

    Example:
        >>> with Video("street.mp4") as video:
        ...     for frame in video:  # (H, W, 3) uint8 RGB, upright
        ...         print(frame.shape)

    Raises:
        UserError: a missing file, or one that OpenCV can't read as a video.
    """

    def __init__(self, path: str | Path) -> None:
        import cv2

        if not Path(path).is_file():
            raise UserError(f"there is no video file {path}: check the path")
        _silence_opencv()
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        first = self._next() if self._capture.isOpened() else None
        if first is None:
            self._capture.release()
            raise UserError(f"{path} cannot be read as a video: save it as MP4 or WebM")
        self._first: np.ndarray | None = first
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.info = VideoInfo(
            first.shape[1],
            first.shape[0],
            rate if 0 < rate <= _FASTEST else _DEFAULT_RATE,
            int(count) if 0 < count < 1e8 else 0,
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            frame = self._next()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def _next(self) -> np.ndarray | None:
        found, frame = self._capture.read()
        return np.ascontiguousarray(frame[..., ::-1]) if found and frame is not None else None


class VideoWriter:
    """Writes RGB frames as WebM (VP8), which browsers play.

    Args:
        path: ends in .webm.
        size: (width, height) of every frame.
        rate: frames per second.

    Raises:
        UserError: this OpenCV can't write the format or the path.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], rate: float) -> None:
        import cv2

        _silence_opencv()
        self._size = size
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), rate, size)
        if not self._writer.isOpened():
            raise UserError(
                f"{path} cannot be written as WebM: check the folder, and that OpenCV supports VP8"
            )

    def write(self, frame: np.ndarray) -> None:
        """Add a (H, W, 3) uint8 RGB frame."""
        if frame.shape[1::-1] != self._size:
            raise ValueError(f"a frame of {frame.shape[1::-1]} in a video of {self._size}")
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.release()


class BoundedVideo:
    """The frames of an untrusted video, decoded in a process that is killed if it takes too long.

    Args:
        max_side: larger frames are scaled down.
        max_frames: later frames are left out.
        seconds: for any one frame.

    Raises:
        UserError: not a video, or it takes too long to decode.
    """

    def __init__(self, path: str | Path, max_side: int, max_frames: int, seconds: float) -> None:
        self.seconds = seconds
        self._process = DecodingProcess(
            "from hfseg.data.video import _serve; _serve(*sys.argv[1:])",
            str(path), str(max_side), str(max_frames),
        )  # fmt: skip
        header = self._read_line()
        if "error" in header:
            self.close()
            raise UserError(header["error"])
        self.info = VideoInfo(**header)

    def __iter__(self) -> Iterator[np.ndarray]:
        shape = (self.info.height, self.info.width, 3)
        while True:
            data = self._bounded(lambda process: process.read(shape[0] * shape[1] * 3))
            if not data:
                return
            if len(data) < shape[0] * shape[1] * 3:
                raise UserError("This video is damaged: it cannot be read to its end.")
            yield np.frombuffer(data, np.uint8).reshape(shape)

    def __enter__(self) -> "BoundedVideo":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _read_line(self) -> dict:
        line = self._bounded(DecodingProcess.read_line)
        return json.loads(line) if line else {"error": "This file cannot be read as a video."}

    def _bounded(self, read: Callable[[DecodingProcess], bytes]) -> bytes:
        with self._process.killed_after(self.seconds) as expired:
            data = read(self._process)
        if expired.is_set():
            raise UserError(f"One frame took more than {self.seconds:g} seconds to decode.")
        return data


def _serve(path: str, max_side: str, max_frames: str) -> None:
    """The process: one line of JSON, and then the pixels of every frame."""
    import cv2  # noqa: F401 - now, not while the first frame waits

    out: IO[bytes] = sys.stdout.buffer
    sys.stdout = sys.stderr
    limit_memory()
    out.write(b"ready\n")
    out.flush()
    try:
        with Video(path) as video:
            scale = min(1.0, int(max_side) / max(video.info[:2]))
            # VP8 wants even sides
            width, height = (max(2, 2 * round(scale * side / 2)) for side in video.info[:2])
            header = video.info._replace(width=width, height=height)
            out.write(json.dumps(header._asdict()).encode() + b"\n")
            for index, frame in enumerate(video):
                if index == int(max_frames):
                    break
                out.write(Image.fromarray(frame).resize((width, height)).tobytes())
                out.flush()
    except UserError:
        out.write(json.dumps({"error": "This file cannot be read as a video."}).encode() + b"\n")


def _silence_opencv() -> None:
    """OpenCV prints warnings of its own about files that are then reported as an error."""
    import cv2

    # OpenCV 5 moved it
    silence = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
    silence(0)
