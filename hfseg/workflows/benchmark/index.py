"""`hfseg benchmark index`: what a large dataset costs a run before and during its steps."""

import io
import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from hfseg.data.rows import features
from hfseg.data.samples import TrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.progress import track
from hfseg.visualization.tables import terminal_table

_SIDE, _BATCH, _BATCHES, _ROWS_IN_FILE = 16, 16, 50, 50_000


def benchmark_index(rows: Sequence[int], workers: Sequence[int]) -> list[dict[str, Any]]:
    """Batches of tiny images from parquet files, for each number of rows and of workers.

    Returns:
        Seconds until the dataset is open, until the first batch and per batch after that, and
        megabytes of this process and of a worker, with shared pages in proportion.
    """
    found = []
    with tempfile.TemporaryDirectory() as parent:
        for count in rows:
            files = _write(Path(parent, str(count)), count)
            for number in workers:
                found.append({"rows": count, "workers": number, **_measure(files, number, parent)})
    names = ("rows", "workers", "open", "first", "batch", "process", "worker")
    heads = (
        "rows",
        "workers",
        "open, s",
        "first batch, s",
        "batch, ms",
        "process, MB",
        "worker, MB",
    )
    shown = [[f"{row[name]:g}" for name in names] for row in found]
    print(terminal_table([list(heads), *shown]))
    print(json.dumps(found))
    return found


def _measure(files: list[str], workers: int, cache: str) -> dict[str, float]:
    started = time.perf_counter()
    data: Any = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
    samples = TrainingSamples(data.cast(features()), TrainingTransform("light", None, 0))
    opened = time.perf_counter()
    loader = DataLoader(
        samples, _BATCH, sampler=samples.sampler(0), num_workers=workers, collate_fn=list
    )
    batches = iter(loader)
    next(batches)
    first = time.perf_counter()
    count = sum(1 for _ in itertools.islice(batches, _BATCHES))
    ended = time.perf_counter()
    processes: list[Any] = getattr(batches, "_workers", [])
    return {
        "open": round(opened - started, 2),
        "first": round(first - opened, 2),
        "batch": round(1000 * (ended - first) / count, 2),
        "process": _megabytes("self"),
        "worker": max((_megabytes(each.pid) for each in processes), default=0),
    }


def _megabytes(process: int | str) -> int:
    """Proportional set size, of which Linux knows."""
    with suppress(FileNotFoundError):  # a worker that has read everything has ended
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) // 1024
    return 0


def _write(folder: Path, count: int) -> list[str]:
    """Parquet files of noise; their names."""
    folder.mkdir()
    drawn = [_row(np.random.default_rng(index)) for index in range(256)]
    files = []
    for start in track(range(0, count, _ROWS_IN_FILE), "writing", unit="files"):
        rows = [drawn[index % 256] for index in range(start, min(start + _ROWS_IN_FILE, count))]
        files.append(str(folder / f"train-{start:09d}.parquet"))
        datasets.Dataset.from_list(rows, features=features()).to_parquet(files[-1])
    return files


def _row(random: np.random.Generator) -> dict[str, Any]:
    image = random.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    label = random.integers(0, 3, (_SIDE, _SIDE), dtype=np.uint8)
    return {"image": {"bytes": _png(image)}, "label": {"bytes": _png(label)}}


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
