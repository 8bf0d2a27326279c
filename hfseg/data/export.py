"""Write any dataset in the Hub's format: parquet files, class tables and a card."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from huggingface_hub import DatasetCard, DatasetCardData

from hfseg.data.hub_labels import ID2LABEL_FILE, LABELS_FILE, id2label_json
from hfseg.data.info import DatasetInfo
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.processes import Processes
from hfseg.progress import Progress
from hfseg.visualization.tables import table_cell

if TYPE_CHECKING:
    import datasets

SHARD_BYTES = 500 << 20
_ROWS_AT_ONCE = 64
_UNFINISHED = "unfinished.json"
"""In a folder that is not complete: what data it is for."""
_CARD_TEMPLATE = Path(__file__).with_name("dataset_card_template.md")


@dataclass(frozen=True)
class _Shard:
    """A parquet file: rows `start` to `stop` of a split."""

    split: str
    start: int
    stop: int
    name: str


def write_dataset(
    folder: str | Path,
    data: "datasets.DatasetDict",
    labels: LabelSet,
    title: str,
    info: DatasetInfo | None = None,
    processes: Processes | None = None,
) -> dict[str, int]:
    """Write `data/SPLIT-*.parquet`, `labels.json`, `id2label.json` and the card `README.md`.

    Images keep their bytes; labels are PNGs of ids. Memory use does not grow with the dataset.
    Processes share the parquet files, and one that was stopped leaves the finished ones to the
    next attempt.

    Args:
        title: heading of the card.
        info: license and origin of a built-in dataset.
        processes: None: this one alone.

    Returns:
        Pixels per class name, and of `ignored`, over all splits.

    Raises:
        UserError: the folder contains something else.
    """
    folder = Path(folder)
    processes = processes or Processes()
    shards = [shard for split, rows in data.items() for shard in _shards(split, rows)]

    def missing() -> list[_Shard]:
        _open(folder, data, labels)
        return [shard for shard in shards if not (folder / "data" / shard.name).exists()]

    waiting = processes.share(processes.agreed(missing))
    with Progress(len(waiting), "writing", "files", shown=processes.is_first) as bar:
        for shard in waiting:
            _write_shard(folder / "data", shard, data[shard.split])
            bar.update()
    pixels = _class_pixels(data, labels, processes)
    if processes.is_first:
        labels.save(folder / LABELS_FILE)
        (folder / ID2LABEL_FILE).write_text(id2label_json(labels), encoding="utf-8")
        counts = {split: len(rows) for split, rows in data.items()}
        card = data_card(title, counts, labels, pixels, info)
        (folder / "README.md").write_text(card, encoding="utf-8")
        (folder / _UNFINISHED).unlink()
    processes.wait()
    return pixels


def holds_part_of(folder: Path, data: "datasets.DatasetDict", labels: LabelSet) -> bool:
    """Whether `write_dataset` of the same data was stopped in this folder."""
    mark = folder / _UNFINISHED
    return mark.is_file() and mark.read_text(encoding="utf-8") == _identity(data, labels)


def _identity(data: "datasets.DatasetDict", labels: LabelSet) -> str:
    fingerprints = {split: rows._fingerprint for split, rows in data.items()}
    return json.dumps([fingerprints, labels.to_dict()])


def _open(folder: Path, data: "datasets.DatasetDict", labels: LabelSet) -> None:
    """Create the folder, unless it holds a part of the same data."""
    if holds_part_of(folder, data, labels):
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--output_dir {folder} is not an empty folder; give another one")
    (folder / "data").mkdir(parents=True)
    (folder / _UNFINISHED).write_text(_identity(data, labels), encoding="utf-8")


def _shards(split: str, rows: "datasets.Dataset") -> list[_Shard]:
    """Files of about `SHARD_BYTES`, whatever the number of processes."""
    starts, stored = [0], 0
    for index, size in enumerate(_sizes(rows)):
        if stored and stored + size > SHARD_BYTES:
            starts.append(index)
            stored = 0
        stored += size
    count = len(starts)
    return [
        _Shard(split, start, stop, f"{split}-{number:05d}-of-{count:05d}.parquet")
        for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True))
    ]


def _sizes(rows: "datasets.Dataset") -> Iterator[int]:
    """Bytes of image and label of each row; nothing is decoded."""
    import pyarrow.compute as pc

    for table in rows.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
        sizes = np.zeros(len(table), dtype=np.int64)
        for column in table.columns:
            lengths = pc.binary_length(pc.struct_field(column, "bytes")).to_pylist()
            paths = pc.struct_field(column, "path").to_pylist()
            for row, (length, path) in enumerate(zip(lengths, paths, strict=True)):
                sizes[row] += os.path.getsize(path) if length is None else length
        yield from sizes.tolist()


def _write_shard(folder: Path, shard: _Shard, rows: "datasets.Dataset") -> None:
    """Images embedded, a few rows in memory at a time; the file gets its name when complete."""
    import pyarrow.parquet as pq
    from datasets.table import embed_table_storage

    part = folder / f"{shard.name}.part"
    own = rows.select(range(shard.start, shard.stop)).with_format("arrow")
    with pq.ParquetWriter(part, rows.features.arrow_schema) as writer:
        for table in own.iter(batch_size=_ROWS_AT_ONCE):
            writer.write_table(embed_table_storage(table.cast(rows.features.arrow_schema)))
    os.replace(part, folder / shard.name)


def _class_pixels(
    data: "datasets.DatasetDict", labels: LabelSet, processes: Processes
) -> dict[str, int]:
    counts = np.zeros(256, dtype=np.int64)
    for rows in (each.select_columns(["label"]) for each in data.values()):
        for index in processes.share(range(len(rows))):
            counts += np.bincount(np.asarray(rows[index]["label"]).ravel(), minlength=256)
    counts = np.sum(processes.gathered(counts), axis=0)
    pixels = {name: int(counts[index]) for index, name in enumerate(labels.names)}
    return {**pixels, "ignored": int(counts[labels.ignore_index])}


def data_card(
    title: str,
    counts: dict[str, int],
    labels: LabelSet,
    pixels: dict[str, int],
    info: DatasetInfo | None = None,
) -> str:
    """The card: metadata, origin and license, splits, and the table of classes."""
    metadata = DatasetCardData(
        license=info.license if info else "other",
        task_categories=["image-segmentation"],
        pretty_name=info.title if info else title,
        tags=["semantic-segmentation", "hfseg"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in counts],
            }
        ],
    )
    total = max(sum(pixels.values()), 1)
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in labels.palette]
    rows = [
        (index, table_cell(name), colors[index], f"{100 * pixels[name] / total:.2f} %")
        for index, name in enumerate(labels.names)
    ]
    rows.append((labels.ignore_index, "ignored", "", f"{100 * pixels['ignored'] / total:.2f} %"))
    card = DatasetCard.from_template(
        metadata,
        template_path=str(_CARD_TEMPLATE),
        title=title,
        info=info,
        counts=counts,
        rows=rows,
        ignore_index=labels.ignore_index,
    )
    return f"{card}\n"
