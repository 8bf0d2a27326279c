"""`--cache_resized`: the deterministic part of training, done once and kept."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfseg.data.samples import read_example, resize_pair
from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets
    from transformers import SegformerImageProcessor

logger = logging.getLogger("hfseg")

_ROWS_AT_ONCE = 16


def resized_dataset(
    rows: "datasets.Dataset", processor: "SegformerImageProcessor"
) -> "datasets.Dataset":
    """The samples at the processor's size as raw pixels, memory-mapped: nothing is decoded again.

    The columns `image` and `label` hold (H, W, 3) and (H, W) uint8. What is stored is what
    `resize_pair` makes of each sample, so a run trains on the same pixels with and without it.

    Raises:
        UserError: not enough room on the disk, told before anything is written.
    """
    import datasets
    from datasets.fingerprint import Hasher

    height, width = int(processor.size["height"]), int(processor.size["width"])
    fingerprint = Hasher.hash((rows._fingerprint, height, width, processor.resample, "resized", 1))
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "hfseg-resized"
    target = folder / f"{fingerprint}.arrow"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        need = len(rows) * height * width * 4
        free = shutil.disk_usage(folder).free
        told = f"{len(rows)} images at {height} x {width} need {need / 1e9:.2f} GB"
        if need > 0.95 * free:
            raise UserError(
                f"--cache_resized: {told}, but {folder} has {free / 1e9:.2f} GB free; leave the "
                "flag out, or set HF_HOME to a larger disk"
            )
        logger.info("--cache_resized: %s on disk (%.2f GB free)", told, free / 1e9)
    columns = datasets.Features(
        {
            "image": datasets.Array3D((height, width, 3), "uint8"),
            "label": datasets.Array2D((height, width), "uint8"),
        }
    )
    stored = datasets.Dataset.from_generator(
        _rows,
        features=columns,
        gen_kwargs={"rows": rows, "processor": processor},
        fingerprint=fingerprint,
        writer_batch_size=_ROWS_AT_ONCE,
    )
    return stored.with_format("numpy")


def _rows(rows: Any, processor: Any) -> Iterator[dict[str, np.ndarray]]:
    for index in range(len(rows)):
        image, label = resize_pair(*read_example(rows, index), processor)
        yield {"image": image, "label": label}
