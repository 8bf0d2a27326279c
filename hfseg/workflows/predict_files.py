"""`hfseg predict`: images, folders and videos -> a folder of masks and overlays.

    OUTPUT/masks/NAME.png      class ids, colored when viewed (mode P)
    OUTPUT/overlays/NAME.jpg   the photo with its classes
    OUTPUT/legend.png, labels.json, predictions.json (the settings)

A video gets one mask per frame (see `predict_video`). A mask is written atomically after its
overlay, so that an interrupted command can be repeated and continues where it ended. The processes
of a launch share the files (see `hfseg.processes`).
"""

import errno
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hfseg.config.evaluation import PredictionArguments
from hfseg.data.image_io import image_files, read_ahead, to_rgb
from hfseg.data.video import SUFFIXES as VIDEO_SUFFIXES
from hfseg.errors import UserError
from hfseg.evaluation.teacher import Teacher
from hfseg.inference.network import ImageProcessor
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.processes import Processes
from hfseg.progress import Progress
from hfseg.visualization.overlay import index_png, legend_image, overlay
from hfseg.workflows.predict_video import overlay_path, predict_video

SETTINGS = "predictions.json"
_SHOWN = 3
_LARGE = 4_000_000
"""Pixels above which a model without resizing needs much memory and time."""
_FAR_LARGER = 16
"""Ratio of the pixels of image and model input above which details are lost."""
_SMALLEST_TILE = 256
"""Pixels per side; a model for smaller images was trained on scenes scaled down to them."""
_JPEG_SIDE = 65_500
"""Pixels; libjpeg's limit."""


def predict(
    options: PredictionArguments, inputs: Sequence[str], output_dir: str, overwrite: bool = False
) -> int:
    """`predict_files` with the model and options of the command."""
    settings = {
        "model": options.model_name_or_path,
        "sliding_window": options.sliding_window,
        "stride": options.stride,
        "tta": options.tta,
        "dtype": options.dtype,
    }

    def load() -> Segmenter:
        return Segmenter.from_pretrained(
            options.model_name_or_path,
            trust_remote_code=options.trust_remote_code,
            dtype=options.dtype,
        )

    how = Options.make(options.sliding_window, options.stride, options.tta)
    return predict_files(load, inputs, output_dir, settings, how, overwrite)


def predict_files(
    load: Callable[[], Segmenter | Teacher],
    inputs: Sequence[str],
    output_dir: str | Path,
    settings: dict[str, Any],
    options: Options,
    overwrite: bool = False,
) -> int:
    """Segment every image and video of `inputs` that has no result in `output_dir` yet.

    Args:
        load: loads the segmenter, after the folders have been checked.
        inputs: image and video files and folders, which keep their structure.
        settings: what the masks depend on; folders with other settings are refused.
        overwrite: segment all images again and replace their results.

    Returns:
        The number of these inputs that have a result now.

    Raises:
        UserError: inputs are missing or share a name, the folder contains something else, the disk
            is full, or some images can't be read (reported after all others are done).
    """
    outcome = segment_files(load, inputs, output_dir, settings, options, overwrite)
    outcome.check()
    return outcome.finished


@dataclass(frozen=True)
class Outcome:
    """What became of the inputs.

    Attributes:
        folder: of the results.
        count: number of inputs.
        bad: what is wrong with those that can't be read.
    """

    folder: Path
    count: int
    bad: list[str]

    @property
    def finished(self) -> int:
        """How many inputs have a result."""
        return self.count - len(self.bad)

    def check(self) -> None:
        """Raise a `UserError` if some can't be read."""
        if self.bad:
            shown = "".join(f"\n  {reason}" for reason in self.bad[:_SHOWN])
            hidden = len(self.bad) - _SHOWN
            more = f"\n  and {hidden} more" if hidden > 0 else ""
            raise UserError(
                f"{len(self.bad)} of {self.count} files can't be read; the other {self.finished} "
                f"are done, in {self.folder}:{shown}{more}"
            )


def segment_files(
    load: Callable[[], Segmenter | Teacher],
    inputs: Sequence[str],
    output_dir: str | Path,
    settings: dict[str, Any],
    options: Options,
    overwrite: bool = False,
) -> Outcome:
    """`predict_files`, with what can't be read returned to all processes."""
    folder = Path(output_dir)
    processes = Processes()

    def unfinished() -> tuple[dict[Path, str], list[Path]]:
        jobs = name_outputs(inputs, folder)
        _check_folder(folder, settings, overwrite)
        return jobs, [p for p, name in jobs.items() if overwrite or not _is_done(folder, p, name)]

    jobs, waiting = processes.agreed(unfinished)
    finished = len(jobs) - len(waiting)
    if finished and processes.is_first:
        print(f"{finished} of {len(jobs)} have a mask already", flush=True)
    output = _Output(folder, load(), options, processes.is_first, finished)
    # apart, as a video takes so much longer than an image
    images = processes.share([path for path in waiting if not _is_video(path)])
    videos = processes.share([path for path in waiting if _is_video(path)])
    try:
        if processes.is_first:
            output.describe(settings)
        processes.wait()  # without its settings the folder would be refused the next time
        output.add_images({path: jobs[path] for path in images})
        output.add_videos({path: jobs[path] for path in videos})
    except OSError as error:
        kept = f"the {output.finished} of {len(jobs)} that are done are kept in {folder}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"the disk is full; {kept}: free some space and run the same command again"
            ) from error
        raise UserError(f"can't write {error.filename or folder} ({error}); {kept}") from error
    bad = {path: why for part in processes.gathered(output.bad) for path, why in part.items()}
    return Outcome(folder, len(jobs), [bad[path] for path in jobs if path in bad])


@dataclass
class _Output:
    """The folder of the results, and what is written to it.

    Attributes:
        shown: whether this process shows its progress.
        finished: number of inputs with a result.
        bad: what is wrong with the others.
    """

    folder: Path
    segmenter: Segmenter | Teacher
    options: Options
    shown: bool
    finished: int
    bad: dict[Path, str] = field(default_factory=dict)

    def describe(self, settings: dict[str, Any]) -> None:
        """Write settings, labels and legend."""
        folder, labels = self.folder, self.segmenter.labels
        _write(folder / SETTINGS, json.dumps(settings, indent=1).encode() + b"\n")
        _write(folder / "labels.json", json.dumps(labels.to_dict(), indent=1).encode() + b"\n")
        key = legend_image(dict.fromkeys(range(len(labels))), labels, width=960)
        _write(folder / "legend.png", _encoded(key, "PNG"))

    def add_images(self, images: dict[Path, str]) -> None:
        """Segment images, given with their names in the folder."""
        labels, warned = self.segmenter.labels, False
        read_image = partial(to_rgb, any_size=self.options.window is not None)
        with Progress(len(images), "segmenting", shown=self.shown) as bar:
            for path, read in read_ahead(images, read_image):
                try:
                    image = read()
                except UserError as error:
                    self.bad[path] = str(error)
                    continue
                finally:
                    bar.update()
                if not warned and self.options.window is None:
                    hint = _sliding_window_hint(path, image, self.segmenter.image_processor)
                    if warned := hint is not None:
                        print(hint, file=sys.stderr, flush=True)
                with Progress(None, f"segmenting {path.name}", "tiles", self.shown) as tiles:
                    mask = self.segmenter.segment(image, self.options, on_tile=tiles.update).mask
                shown = overlay(image, mask, labels)
                shown.thumbnail((_JPEG_SIDE, _JPEG_SIDE))
                encoded = _encoded(shown, "JPEG", quality=92)
                _write(self.folder / "overlays" / f"{images[path]}.jpg", encoded)
                _write_mask(_mask(self.folder, images[path]), mask, labels)
                self.finished += 1

    def add_videos(self, videos: dict[Path, str]) -> None:
        """Segment videos, given with their names in the folder."""
        for path, name in videos.items():
            try:
                with Progress(None, f"segmenting {path.name}", "frames", self.shown) as bar:
                    predict_video(
                        self.segmenter, path, self.folder, name, self.options, _write_mask,
                        bar.update,
                    )  # fmt: skip
            except UserError as error:
                self.bad[path] = str(error)
                continue
            self.finished += 1


def name_outputs(inputs: Sequence[str], output_dir: Path) -> dict[Path, str]:
    """Image -> unique name of its mask and overlay, without suffix.

    Files keep their path relative to the input folder, prefixed with the folder's name if there are
    several inputs. If `a.jpg` and `a.png` are in one folder, both keep their suffix.

    Raises:
        UserError: an input does not exist, there are no images, or names collide.
    """
    found: dict[Path, Path] = {}
    for each in map(Path, inputs):
        if each.is_dir():
            prefix = each.resolve().name if len(inputs) > 1 else ""
            for path in image_files(each, VIDEO_SUFFIXES):
                if not path.resolve().is_relative_to(output_dir.resolve()):
                    found[path] = prefix / path.relative_to(each)  # a link keeps its own name
        elif each.is_file():
            found[each] = Path(each.name)
        else:
            raise UserError(f"there is no image, video or folder {each}: check the path")
    if not found:
        raise UserError(
            f"no images or videos in {', '.join(map(str, inputs))}; give a folder with some"
        )

    def plain(name: Path) -> str:  # some file systems ignore case
        return name.with_suffix("").as_posix().lower()

    alike = Counter(plain(name) for name in found.values())
    names: dict[Path, str] = {}
    taken: dict[str, Path] = {}
    for path, name in found.items():
        text = name.as_posix() if alike[plain(name)] > 1 else name.with_suffix("").as_posix()
        other = taken.setdefault(text.lower(), path)
        if other is not path:
            if other.resolve() == path.resolve():
                continue  # given twice
            raise UserError(
                f"{other} and {path} would both be written as {text}.png: rename one, or segment "
                "them into two output folders"
            )
        names[path] = text
    return names


def _sliding_window_hint(path: Path, image: Image.Image, processor: ImageProcessor) -> str | None:
    """A hint for images that are far larger than the model's input."""
    pixels = image.width * image.height
    size = f"{path} has {image.width} x {image.height} pixels"
    sides = [side for side in dict(getattr(processor, "size", None) or {}).values() if side]
    if getattr(processor, "do_resize", False) and sides:
        if pixels <= _FAR_LARGER * sides[0] * sides[-1] or min(sides) < _SMALLEST_TILE:
            return None
        return (
            f"{size}, and the model sees it scaled down to {' x '.join(map(str, sides))}: if small "
            f"objects are missing, --sliding_window {min(sides)} predicts in tiles of that size "
            "at the image's own scale"
        )
    if pixels <= _LARGE:
        return None
    return (
        f"{size}, which the model sees all at once: --sliding_window 1024 needs less memory "
        "and time"
    )


def _check_folder(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output_dir {folder} is a file; give a folder")
    if overwrite or not folder.exists() or not any(folder.iterdir()):
        return
    try:
        earlier = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(
            f"--output_dir {folder} is not empty, and not an earlier output of hfseg; give "
            "another folder, or --overwrite to write into it"
        ) from None
    if earlier != settings:
        differing = [key for key in settings if settings[key] != earlier.get(key)]
        raise UserError(
            f"--output_dir {folder} contains predictions made with another {', '.join(differing)}; "
            "give another folder, or --overwrite to replace them"
        )


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_done(folder: Path, path: Path, name: str) -> bool:
    return (overlay_path(folder, name) if _is_video(path) else _mask(folder, name)).exists()


def _write_mask(path: Path, mask: np.ndarray, labels: LabelSet) -> None:
    _write(path, _encoded(index_png(mask, labels), "PNG"))


def _mask(folder: Path, name: str) -> Path:
    return folder / "masks" / f"{name}.png"


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Write atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
