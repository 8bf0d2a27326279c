"""Any data set -> the Hub's form: parquet files, class tables and a data card."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hfseg.data.info import DatasetInfo
from hfseg.data.readers.hub import ID2LABEL_FILE, LABELS_FILE, id2label_json
from hfseg.errors import UserError
from hfseg.hub_errors import explain_hub_error
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

SHARD_BYTES = 500 << 20
_ROWS_AT_ONCE = 64


def write_dataset(
    folder: str | Path,
    data: "datasets.DatasetDict",
    labels: LabelSet,
    title: str,
    info: DatasetInfo | None = None,
) -> dict[str, int]:
    """Write `data/SPLIT-*.parquet`, `labels.json`, `id2label.json` and the card `README.md`.

    Images keep the bytes they have; labels are PNGs of ids. Memory stays flat.

    Args:
        title: heading of the card.
        info: licence and origin of a built-in data set.

    Returns:
        Pixels of each class by name, and of `ignored`, over all splits.

    Raises:
        UserError: a folder that holds something already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and not empty; give another --output_dir")
    (folder / "data").mkdir(parents=True)
    for split, rows in data.items():
        _write_parquet(folder / "data", split, rows)
    shares = _class_pixels(data, labels)
    labels.save(folder / LABELS_FILE)
    (folder / ID2LABEL_FILE).write_text(id2label_json(labels), encoding="utf-8")
    card = data_card(
        title, {split: len(rows) for split, rows in data.items()}, labels, shares, info
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return shares


def push_dataset(
    repo_id: str,
    data: "datasets.DatasetDict",
    labels: LabelSet,
    info: DatasetInfo | None = None,
    private: bool = True,
) -> str:
    """Write the data set to a temporary folder and upload that in one commit; returns its page.

    Raises:
        UserError: an upload that the Hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    folder = Path(tempfile.mkdtemp(prefix="hfseg-push-"))
    try:
        # first of all, so that a wrong name or token is told before the work
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        write_dataset(folder / "dataset", data, labels, url.repo_id, info)
        api.upload_folder(
            repo_id=url.repo_id,
            repo_type="dataset",
            folder_path=folder / "dataset",
            commit_message="Upload with hfseg",
            delete_patterns="data/*.parquet",
        )
    except UserError:
        raise
    except Exception as error:  # of the Hub's client and of the HTTP library under it
        cause = explain_hub_error(error, repo_id, "dataset", writing=True)
        if cause is None and not isinstance(error, OSError):
            raise
        raise UserError(
            f"the data set can't be pushed to {repo_id!r}: "
            f"{cause or ' '.join(str(error).split())[:300]}"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return str(url)


def _write_parquet(folder: Path, split: str, rows: "datasets.Dataset") -> None:
    """Shards of about `SHARD_BYTES`, pictures embedded, a few rows in memory at a time."""
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
    import numpy as np

    counts = np.zeros(256, dtype=np.int64)
    for rows in data.values():
        for row in rows.select_columns(["label"]):
            counts += np.bincount(np.asarray(row["label"]).ravel(), minlength=256)
    shares = {name: int(counts[index]) for index, name in enumerate(labels.names)}
    return {**shares, "ignored": int(counts[labels.ignore_index])}


def data_card(
    title: str,
    counts: dict[str, int],
    labels: LabelSet,
    pixels: dict[str, int],
    info: DatasetInfo | None = None,
) -> str:
    """The card: metadata, origin and licence, splits, and the table of classes."""
    files = [{"split": split, "path": f"data/{split}-*"} for split in counts]
    metadata: dict[str, Any] = {
        "license": info.license if info else "other",
        "task_categories": ["image-segmentation"],
        "tags": ["semantic-segmentation", "hfseg"],
        "pretty_name": info.title if info else title,
        "configs": [{"config_name": "default", "data_files": files}],
    }
    total = max(sum(pixels.values()), 1)
    head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    lines = ["---", head.rstrip(), "---", "", f"# {title}", ""]
    if info:
        lines += [
            f"A copy of {info.title}" + (f" ({info.homepage})." if info.homepage else "."),
            "",
        ]
        lines += [f"Licence: {info.license_note}.", ""]
        lines += [f"Splits: {info.splits}.", ""]
        if info.citation:
            lines += [f"Please cite: {info.citation}.", ""]
    else:
        lines += ["Licence: not stated by whoever made this copy.", ""]
    lines += [
        f"Columns: `image` (RGB) and `label` (mode L: class ids, {labels.ignore_index} = ignored).",
        "",
        "| split | images |",
        "|---|---:|",
        *(f"| {split} | {count} |" for split, count in counts.items()),
        "",
        "| id | class | colour | share of pixels |",
        "|---:|---|---|---:|",
    ]
    for index, name in enumerate(labels.names):
        color = "#{:02x}{:02x}{:02x}".format(*labels.palette[index])
        lines.append(f"| {index} | {name} | {color} | {100 * pixels[name] / total:.2f} % |")
    ignored = 100 * pixels["ignored"] / total
    lines += [f"| {labels.ignore_index} | ignored | | {ignored:.2f} % |", ""]
    lines += [
        "```python",
        "import hfseg",
        f'data, labels = hfseg.load_dataset("{title}")',
        "```",
        "",
    ]
    return "\n".join(lines)
