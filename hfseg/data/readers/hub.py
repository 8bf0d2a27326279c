"""Data sets in the Hub's format: anyone's repository, or a local copy of one.

`hub_columns` finds the roles of the columns, `hub_rows` reads what is stored in them; here the
repository is opened, its classes are named and its rows become `image` and `label`.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfseg.data.class_tables import labels_by_value, read_id2label, read_label_table
from hfseg.data.info import HubSource
from hfseg.data.masks import MaskDecoder, encode_png
from hfseg.data.pairs import (
    OnBadSample,
    align,
    cached_dataset,
    features,
    read_image,
    without_bad_rows,
)
from hfseg.data.readers.hub_columns import find_columns, inner_feature
from hfseg.data.readers.hub_rows import (
    column_features,
    encoded,
    first_rows,
    image_source,
    mask_source,
)
from hfseg.data.splits import SPLIT_ALIASES, WHOLE
from hfseg.errors import UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.hub_errors import explain_hub_error
from hfseg.labels import IGNORE_INDEX, LabelSet

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger("hfseg")

LABELS_FILE, ID2LABEL_FILE = "labels.json", "id2label.json"
_SNIFFED = 8


@dataclass(frozen=True)
class Wishes:
    """What the user said about a Hub data set, rather than leaving it to be found out."""

    image_column: str | None = None
    label_column: str | None = None
    id2label: str | None = None
    config: str | None = None


@dataclass
class HubDataset:
    """An opened Hub data set: raw splits, and how a row of them is read.

    Attributes:
        name: repository id or folder.
        splits: `train` / `validation` / `test` -> `Dataset` or `IterableDataset` with the two
            columns, nothing decoded; or only `WHOLE`.
        image_column, label_column: what the two columns are called there.
        labels, decoder: what the masks mean.
    """

    name: str
    splits: dict[str, Any]
    image_column: str
    label_column: str
    labels: LabelSet
    decoder: MaskDecoder

    def read_row(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        """A raw row -> the columns `image` and `label`, encoded.

        Raises: UserError: an image or mask that can't be used; `where` names the row.
        """
        stored, size, orientation = read_image(*image_source(row[self.image_column], where))
        ids = self.decoder(mask_source(row[self.label_column], where), where)
        label = encode_png(align(ids, size, orientation, where, "in the same row"))
        image = {"path": stored, "bytes": None} if isinstance(stored, str) else stored
        return {"image": {"path": None, **image}, "label": {"path": None, "bytes": label}}

    def without_splits(self) -> "HubDataset":
        """Enough to read rows that come from elsewhere; small, so a worker gets it quickly."""
        return replace(self, splits={})

    def rows(self, split: str) -> Iterator[Any]:
        """The rows of a split, each as a function that reads it (for `cached_dataset`)."""
        for index, row in enumerate(self.splits[split]):
            where = f"{self.name}, {split} row {index}"
            yield lambda row=row, where=where: self.read_row(row, where)


def open_hub_dataset(
    source: HubSource,
    wishes: Wishes,
    known: tuple[LabelSet, MaskDecoder] | None = None,
    streaming: bool = False,
) -> HubDataset:
    """Open a repository (or a folder in its form), and find columns, names and encoding.

    Args:
        source: the repository; empty column names are found out.
        wishes: what the user gave; it wins.
        known: labels and decoder of a built-in data set.
        streaming: open without downloading.

    Raises:
        UserError: a repository that can't be had, columns or names that can't be told.
    """
    import datasets

    if not Path(source.id).exists():
        work_offline_without_network()
    with _one_sentence(source):
        raw = datasets.load_dataset(
            source.id,
            wishes.config or source.config,
            revision=source.revision,
            data_dir=source.data_dir,
            streaming=streaming,
        )
        splits = _named_splits(source.id, dict(raw))
        first = next(iter(splits.values()))
        image, label = find_columns(
            source.id,
            first,
            wishes.image_column or source.image,
            wishes.label_column or source.label,
        )
    plain = {name: encoded(split, image, label) for name, split in splits.items()}
    first = next(iter(plain.values()))
    labels, decoder = _labels(source, wishes, known, splits, label, plain, streaming)
    decoder = decoder.sniff(_sampled_masks(first, label))
    return HubDataset(source.id, plain, image, label, labels, decoder)


def _sampled_masks(split: Any, label: str) -> Iterator[Any]:
    """The first masks that can be opened; the others are told when they are read."""
    for row in first_rows(split, _SNIFFED):
        with suppress(UserError):
            yield mask_source(row[label], "")


@contextmanager
def _one_sentence(source: HubSource) -> Iterator[None]:
    """What `datasets` and the Hub raise, as a sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the Hub's errors, requests', pyarrow's: no common base
        cause = explain_hub_error(error, source.id, "dataset")
        if cause is not None:
            raise UserError(
                f"the data set {source.id!r} can't be loaded: {cause}, or give a local copy with "
                "--dataset_path"
            ) from error
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"the data set {source.id!r} can't be loaded ({cause}); check the name, the network "
            "and HF_TOKEN, or give a local copy with --dataset_path"
        ) from error


def _named_splits(name: str, raw: dict[str, Any]) -> dict[str, Any]:
    splits = {}
    for split, aliases in SPLIT_ALIASES.items():
        found = next((alias for alias in aliases if alias in raw), None)
        if found is not None:
            splits[split] = raw[found]
    if len(raw) == 1 and list(splits) in ([], ["train"]):
        return {WHOLE: next(iter(raw.values()))}
    if not splits:
        raise UserError(f"{name}: its splits {list(raw)} are none of train, validation and test")
    return splits


def _labels(
    source: HubSource,
    wishes: Wishes,
    known: tuple[LabelSet, MaskDecoder] | None,
    splits: dict[str, Any],
    label: str,
    plain: dict[str, Any],
    streaming: bool,
) -> tuple[LabelSet, MaskDecoder]:
    """Names, from the most to the least explicit place, and the decoder that goes with them."""
    if wishes.id2label:
        labels, ids = read_label_table(Path(wishes.id2label))
        return labels, MaskDecoder.for_labels(labels, ids=ids)
    stored = _repository_file(source, LABELS_FILE)
    if stored is not None:  # written by push_dataset: the masks are ids
        labels = LabelSet.load(stored)
        return labels, MaskDecoder.for_labels(labels)
    if known is not None:
        return known
    names = _class_label_names(column_features(next(iter(splits.values()))).get(label))
    if names:
        labels, ids = labels_by_value(dict(enumerate(names)))
        return labels, MaskDecoder.for_labels(labels, ids=ids)
    stored = _repository_file(source, ID2LABEL_FILE)
    if stored is not None:
        labels, ids = labels_by_value(read_id2label(stored))
        return labels, MaskDecoder.for_labels(labels, ids=ids)
    if streaming:
        raise UserError(
            f"{source.id}: it names no classes, and with --streaming they can't be counted; "
            "give --id2label FILE"
        )
    return _numbered(source, plain, label)


def _class_label_names(feature: Any) -> list[str] | None:
    import datasets

    while feature is not None:
        if isinstance(feature, datasets.ClassLabel):
            return list(feature.names)
        feature = inner_feature(feature)
    return None


def _numbered(source: HubSource, plain: dict[str, Any], label: str) -> tuple[LabelSet, MaskDecoder]:
    """The ids that occur are the classes; one pass over all masks."""
    first = next(iter(plain.values()))
    reader = MaskDecoder(num_labels=IGNORE_INDEX)
    reader = reader.sniff(_sampled_masks(first, label))
    found: set[int] = set()
    for name, split in plain.items():
        for index, row in enumerate(split):
            where = f"{source.id}, {name} row {index}"
            found.update(np.unique(reader(mask_source(row[label], where), where)).tolist())
    found.discard(IGNORE_INDEX)
    if not found:
        raise UserError(f"{source.id}: its masks hold no class, only {IGNORE_INDEX}")
    logger.warning(
        "%s names no classes: they are numbered 0 to %d; --id2label FILE names them",
        source.id,
        max(found),
    )
    labels = LabelSet(tuple(f"class {index}" for index in range(max(found) + 1)))
    return labels, MaskDecoder(num_labels=len(labels))


def _repository_file(source: HubSource, name: str) -> Path | None:
    """A file of the repository, or None where it has none."""
    if Path(source.id).is_dir():
        path = Path(source.id) / name
        return path if path.is_file() else None

    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(source.id, name, repo_type="dataset", revision=source.revision))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None
    except HfHubHTTPError as error:
        raise UserError(f"{source.id}: {name} can't be read ({error})") from error


# ---- rows ----


def downloaded_split(
    data: HubDataset, split: str, on_bad_sample: OnBadSample
) -> "tuple[datasets.Dataset, list[int]]":
    """A downloaded split as `image` and `label`, and which of its rows these are.

    Masks are decoded once and written as small PNGs; the images stay in the download, unless
    some of them have to be converted (`read_image`), which copies the split.
    """
    import datasets
    from datasets.fingerprint import Hasher

    raw = data.splits[split]
    skip = on_bad_sample != "stop"

    def decode(row: dict[str, Any], index: int) -> dict[str, Any]:
        try:
            read = data.read_row(row, f"{data.name}, {split} row {index}")
        except UserError as error:
            if not skip:
                raise
            return {"label": None, "converted": False, "problem": str(error)}
        before, after = row[data.image_column]["bytes"], read["image"]["bytes"]
        return {"label": read["label"], "converted": after != before, "problem": None}

    columns = {
        "label": features()["label"],
        "converted": datasets.Value("bool"),
        "problem": datasets.Value("string"),
    }
    identity = (raw._fingerprint, data.decoder, data.image_column, data.label_column, skip)
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        decoded = raw.map(
            decode,
            with_indices=True,
            remove_columns=raw.column_names,
            features=datasets.Features(columns),
            new_fingerprint=Hasher.hash(identity),
        )
    finally:
        if shown:
            datasets.enable_progress_bars()
    if any(decoded["converted"]):
        return cached_dataset(
            split, data.rows, {"split": split}, ("converted", identity), on_bad_sample
        )
    images = raw.select_columns([data.image_column])
    if data.image_column != "image":
        images = images.rename_column(data.image_column, "image")
    images = images.cast_column("image", features()["image"])
    together = datasets.concatenate_datasets([images, decoded.remove_columns("converted")], axis=1)
    return without_bad_rows(split, together, on_bad_sample)


def streamed_split(data: HubDataset, split: str, on_bad_sample: OnBadSample) -> "datasets.Dataset":
    """A streamed split, read to its end and kept: for validation, which has to be complete."""
    identity = (data.name, split, data.decoder, data.image_column, data.label_column)
    return cached_dataset(split, data.rows, {"split": split}, identity, on_bad_sample)[0]


def id2label_json(labels: LabelSet) -> str:
    """The Hub's customary `id2label.json`."""
    names = {str(index): name for index, name in labels.id2label.items()}
    return json.dumps(names, indent=1, ensure_ascii=False) + "\n"
