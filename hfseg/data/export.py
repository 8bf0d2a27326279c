"""Write any dataset in the Hub's format: parquet files, class tables and a card."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from huggingface_hub import DatasetCard, DatasetCardData

from hfseg.data.hub_labels import ID2LABEL_FILE, LABELS_FILE, id2label_json
from hfseg.data.info import DatasetInfo
from hfseg.errors import UserError
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

SHARD_BYTES = 500 << 20
_ROWS_AT_ONCE = 64
_CARD_TEMPLATE = Path(__file__).with_name("dataset_card_template.md")


def write_dataset(
    folder: str | Path,
    data: "datasets.DatasetDict",
    labels: LabelSet,
    title: str,
    info: DatasetInfo | None = None,
) -> dict[str, int]:
    """Write `data/SPLIT-*.parquet`, `labels.json`, `id2label.json` and the card `README.md`.

    Images keep their bytes; labels are PNGs of ids. Memory use does not grow with the dataset.

    Args:
        title: heading of the card.
        info: license and origin of a built-in dataset.

    Returns:
        Pixels per class name, and of `ignored`, over all splits.

    Raises:
        UserError: the folder is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--output_dir {folder} is not an empty folder; give another one")
    (folder / "data").mkdir(parents=True)
    for split, rows in data.items():
        _write_parquet(folder / "data", split, rows)
    pixels = _class_pixels(data, labels)
    labels.save(folder / LABELS_FILE)
    (folder / ID2LABEL_FILE).write_text(id2label_json(labels), encoding="utf-8")
    card = data_card(
        title, {split: len(rows) for split, rows in data.items()}, labels, pixels, info
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return pixels


def _write_parquet(folder: Path, split: str, rows: "datasets.Dataset") -> None:
    """Shards of about `SHARD_BYTES`, images embedded, a few rows in memory at a time."""
    import pyarrow.parquet as pq
    from datasets.table import embed_table_storage

    parts: list[Path] = []
    writer, written = None, 0
    for table in rows.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
        table = embed_table_storage(table.cast(rows.features.arrow_schema))
        if writer is None or written > SHARD_BYTES:
            if writer is not None:
                writer.close()
            parts.append(folder / f"{split}-part{len(parts)}")
            writer, written = pq.ParquetWriter(parts[-1], table.schema), 0
        writer.write_table(table)
        written += table.nbytes
    if writer is not None:
        writer.close()
    for index, part in enumerate(parts):
        part.rename(folder / f"{split}-{index:05d}-of-{len(parts):05d}.parquet")


def _class_pixels(data: "datasets.DatasetDict", labels: LabelSet) -> dict[str, int]:
    counts = np.zeros(256, dtype=np.int64)
    for rows in data.values():
        for row in rows.select_columns(["label"]):
            counts += np.bincount(np.asarray(row["label"]).ravel(), minlength=256)
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
        (index, name, colors[index], f"{100 * pixels[name] / total:.2f} %")
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
