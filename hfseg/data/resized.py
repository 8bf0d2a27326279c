"""`--cache_resized`: decode and resize the training images once, and keep them."""

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import numpy as np
from datasets.fingerprint import Hasher

from hfseg.data.samples import read_example, resize_pair
from hfseg.errors import UserError
from hfseg.progress import track

if TYPE_CHECKING:
    from transformers import SegformerImageProcessor

logger = logging.getLogger("hfseg")


class ResizedRows:
    """Samples as raw pixels in one file, mapped into memory: nothing is decoded again.

    A row holds `image`, (H, W, 3) uint8, and `label`, (H, W) uint8.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._pixels: np.ndarray | None = None

    @property
    def pixels(self) -> np.ndarray:
        """(N, H, W, 4) uint8, opened by each process for itself."""
        if self._pixels is None:
            self._pixels = np.load(self.file, mmap_mode="r")
        return self._pixels

    def __getstate__(self) -> dict[str, object]:
        return {"file": self.file, "_pixels": None}

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        pixels = self.pixels[index]
        return {"image": pixels[..., :3], "label": pixels[..., 3]}


def resized_rows(rows: datasets.Dataset, processor: "SegformerImageProcessor") -> ResizedRows:
    """The samples at the processor's size, from the cache or written to it.

    The results of `resize_pair` are stored, so a run trains on the same pixels with and without
    it. Logs the disk space needed, 4 bytes per pixel, beforehand.

    Raises:
        UserError: not enough disk space, reported before anything is written.
    """
    height, width = int(processor.size["height"]), int(processor.size["width"])
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "hfseg-resized"
    name = Hasher.hash((rows._fingerprint, height, width, int(processor.resample)))
    file = folder / f"{name}.npy"
    if file.is_file():
        return ResizedRows(file)
    folder.mkdir(parents=True, exist_ok=True)
    need, free = len(rows) * height * width * 4, shutil.disk_usage(folder).free
    needed = f"{len(rows)} images at {height} x {width} need {need / 1e9:.2f} GB on disk"
    if need > 0.95 * free:
        raise UserError(
            f"--cache_resized: {needed}, but {folder} has {free / 1e9:.2f} GB free; leave the flag "
            "out, or set HF_HOME to a larger disk"
        )
    logger.info("--cache_resized: %s (%.2f GB free)", needed, free / 1e9)
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        pixels = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.uint8, shape=(len(rows), height, width, 4)
        )
        for index in track(range(len(rows)), "resizing"):
            image, label = resize_pair(*read_example(rows, index), processor)
            pixels[index, ..., :3], pixels[index, ..., 3] = image, label
        pixels.flush()
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return ResizedRows(file)
