"""Predicts videos: a mask for every frame, and the video with overlays.

OUTPUT/masks/NAME/000000.png   class ids of the first frame
OUTPUT/overlays/NAME.webm      written last, which marks the video as done
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from hfseg.data.video import Video, VideoWriter
from hfseg.evaluation.teacher import Teacher
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import overlay


def overlay_path(folder: Path, name: str) -> Path:
    """The path of the overlay video, which is written after the masks."""
    return folder / "overlays" / f"{name}.webm"


def predict_video(
    segmenter: Segmenter | Teacher,
    path: Path,
    folder: Path,
    name: str,
    options: Options,
    write_mask: Callable[[Path, np.ndarray, LabelSet], None],
    on_frame: Callable[[], None] = lambda: None,
) -> int:
    """Segment every frame of a video.

    Args:
        folder: of all results.
        name: of this video, without suffix.
        write_mask: writes one mask atomically.
        on_frame: called after every frame.

    Returns:
        The number of frames.

    Raises:
        UserError: not a video.
    """
    target = overlay_path(folder, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.stem}.part.webm")
    count = 0
    try:
        with Video(path) as video:
            # VP8 needs even sides
            size = (video.info.width // 2 * 2, video.info.height // 2 * 2)
            with VideoWriter(part, size, video.info.rate) as writer:
                for frame in video:
                    image = Image.fromarray(frame)
                    mask = segmenter.segment(image, options).mask
                    write_mask(folder / "masks" / name / f"{count:06d}.png", mask, segmenter.labels)
                    shown = np.asarray(overlay(image, mask, segmenter.labels))
                    writer.write(shown[: size[1], : size[0]])
                    count += 1
                    on_frame()
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return count
