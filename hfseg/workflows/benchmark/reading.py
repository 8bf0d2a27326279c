"""`hfseg benchmark reading`: the time until a dataset is open, the first time and the second."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hfseg.config.data import DatasetArguments
from hfseg.data import load_dataset
from hfseg.progress import track
from hfseg.visualization.tables import terminal_table

_SIDE = 128
"""Pixels of a drawn image."""


def benchmark_reading(
    wanted: DatasetArguments, *, pairs: int, workers: Sequence[int]
) -> list[dict[str, float]]:
    """Open a dataset with an empty cache, and again, for each number of workers.

    Args:
        wanted: a dataset; without one, `pairs` images with masks are drawn into a folder.

    Returns:
        For each number of workers: the seconds of the first and of the second start.
    """
    found = []
    with tempfile.TemporaryDirectory() as parent:
        if wanted.dataset_name is None:
            wanted = DatasetArguments("folder", str(_draw(Path(parent, "drawn"), pairs)))
        options = {**wanted.dataset_options()}
        for count in workers:
            options["preprocessing_num_workers"] = count
            with _empty_cache():
                first = _seconds(wanted, options)
                second = _seconds(wanted, options)
            found.append({"workers": count, "first": first, "second": second})
    rows = [[str(row["workers"]), f"{row['first']:.2f}", f"{row['second']:.2f}"] for row in found]
    print(terminal_table([["workers", "first start, s", "second start, s"], *rows]))
    print(json.dumps(found))
    return found


def _seconds(wanted: DatasetArguments, options: dict[str, Any]) -> float:
    started = time.perf_counter()
    load_dataset(wanted.required_name(), wanted.dataset_path, **options)
    return time.perf_counter() - started


@contextmanager
def _empty_cache() -> Iterator[None]:
    before = datasets.config.HF_DATASETS_CACHE
    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder)
        try:
            yield
        finally:
            datasets.config.HF_DATASETS_CACHE = before


def _draw(folder: Path, pairs: int) -> Path:
    """Noise under a few rectangles, as JPEG, and their masks, as PNG of ids."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in track(range(pairs), "drawing", pairs):
        random = np.random.default_rng(index)
        image = random.integers(0, 256, (_SIDE // 8, _SIDE // 8, 3), dtype=np.uint8)
        mask = np.zeros((_SIDE, _SIDE), dtype=np.uint8)
        for label in (1, 2):
            top, left = random.integers(0, _SIDE // 2, 2)
            mask[top : top + 40, left : left + 60] = label
        photo = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        photo.save(folder / "images" / f"{index:06d}.jpg", quality=90)
        Image.fromarray(mask).save(folder / "masks" / f"{index:06d}.png")
    (folder / "classes.txt").write_text("background\nfirst\nsecond\n")
    return folder
