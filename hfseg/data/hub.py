"""Datasets in the Hub's format: anyone's repository, a local copy, or files at an address.

`hub_columns` finds the roles of the columns, `hub_rows` reads what is stored in them, `hub_labels`
names the classes; here the repository is opened and its rows become `image` and `label`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from hfseg.data.addresses import folder_of, is_address, open_address
from hfseg.data.hub_columns import find_columns
from hfseg.data.hub_labels import Meaning, find_labels
from hfseg.data.hub_rows import (
    SNIFFED,
    Places,
    Split,
    encoded,
    first_rows,
    image_source,
    mask_source,
    sampled_masks,
)
from hfseg.data.in_memory import from_torch
from hfseg.data.info import HubSource
from hfseg.data.label_map import Values, apply_label_map
from hfseg.data.masks import MaskDecoder, StoredMask, open_image
from hfseg.data.reading import cached, in_order
from hfseg.data.rows import Row, bad_row, fact_features, features, named, read_row
from hfseg.data.splits import SPLIT_ALIASES, WHOLE, SplitPlan
from hfseg.errors import UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.hub_errors import explain_hub_error
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

    from hfseg.data.readers import Reader

RowNumbers = Mapping[str, Sequence[int]]
"""Rows of each split."""
Division = Callable[[RowNumbers], RowNumbers]


@dataclass(frozen=True)
class HubRequest:
    """What the user specified about a Hub dataset; the rest is inferred."""

    image_column: str | None = None
    label_column: str | None = None
    id2label: str | None = None
    config: str | None = None
    label_map: Values = ()


@dataclass
class HubDataset:
    """An opened Hub dataset: raw splits, and how a row of them is read (an `OpenedDataset`).

    Attributes:
        name: repository id or folder.
        splits: `train` / `validation` / `test` -> `Dataset` or `IterableDataset` with the two
            columns, nothing decoded; or only `WHOLE`.
        image_column, label_column: names of the two columns.
        labels, decoder: what the masks mean.
        ignored, guessed: as of `pairs.Reading`.
        official_division: how a built-in dataset divides its official train and test splits.
        places: where the files are that rows may name.
    """

    name: str
    splits: Mapping[str, Split]
    image_column: str
    label_column: str
    labels: LabelSet
    decoder: MaskDecoder
    ignored: tuple[str, ...] = ()
    guessed: bool = False
    official_division: Division | None = None
    in_time: bool = False
    places: Places = None

    def names(self, split: str) -> list[str]:
        """The numbers of the rows."""
        return [str(row) for row in range(len(self.splits[split]))]

    def divide(
        self, names: Mapping[str, Sequence[str]], plan: SplitPlan
    ) -> dict[str, tuple[str, list[int]]]:
        """By the official rule if there is one, otherwise by the plan."""
        if self.official_division is None or set(names) != {"train", "test"}:
            return plan.complete(names)
        parts = self.official_division({split: range(len(rows)) for split, rows in names.items()})
        return {
            part: ("test" if part == "test" else "train", list(rows))
            for part, rows in parts.items()
        }

    def look(self) -> Iterator[tuple[Image.Image, StoredMask]]:
        """Image and mask of the first rows, those that can be opened."""
        first = next(iter(self.splits.values()))
        for row in first_rows(first, SNIFFED):
            with suppress(UserError):
                source, _ = image_source(row[self.image_column], "", self.places)
                mask = mask_source(row[self.label_column], "", self.places)
                yield open_image(source), mask

    def read_row(self, row: Row, where: str) -> Row:
        """A raw row -> the columns `image` and `label`, encoded, and the facts.

        Raises:
            UserError: an image or mask that can't be used; `where` names the row.
        """
        source, name = image_source(row[self.image_column], where, self.places)
        mask = mask_source(row[self.label_column], where, self.places)
        stored = row[self.label_column]
        file = stored.get("bytes") if isinstance(stored, dict) else None
        read = read_row(source, mask, self.decoder, name, where, file)
        if isinstance(source, bytes):
            read["image"]["path"] = named(row[self.image_column].get("path"))
        return read

    def without_splits(self) -> "HubDataset":
        """Enough to read rows from elsewhere; small, so that it is sent to a worker quickly."""
        return replace(self, splits={})

    def build(self, split: str, workers: int | None = None) -> "datasets.Dataset":
        """A downloaded split, with masks decoded once and written as small PNGs.

        The images stay in the download, unless some of them have to be converted
        (`rows.read_image`), which copies the split.
        """
        import datasets

        raw = self.splits[split]
        assert isinstance(raw, datasets.Dataset)  # streams are not built
        samples = HubSamples(self.without_splits(), split, raw)
        identity = (raw._fingerprint, self.decoder, self.image_column, self.label_column)
        columns = {
            "label": features()["label"],
            **fact_features(),
            "converted": datasets.Value("bool"),
        }
        masks = in_order(split, HubMasks(samples), workers)
        decoded = cached(split, masks, ("masks", identity), columns)
        if any(decoded["converted"][:]):
            return cached(split, in_order(split, samples, workers), ("converted", identity))
        images = raw.select_columns([self.image_column])
        if self.image_column != "image":
            images = images.rename_column(self.image_column, "image")
        images = images.cast_column("image", features()["image"])
        return datasets.concatenate_datasets([images, decoded.remove_columns("converted")], axis=1)


@dataclass(frozen=True)
class HubSamples:
    """The rows of a downloaded split, as `reading.Samples`."""

    data: HubDataset
    split: str
    rows: "datasets.Dataset"

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.read(self.rows[index], index)

    def read(self, row: Row, index: int) -> Row:
        """A row that was fetched."""
        return self.data.read_row(row, f"{self.data.name}, {self.split} row {index}")


@dataclass(frozen=True)
class HubMasks:
    """The same without the images, but with whether these have to be converted."""

    samples: HubSamples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Row:
        row = self.samples.rows[index]
        stored = (row[self.samples.data.image_column] or {}).get("bytes")
        try:
            read = self.samples.read(row, index)
        except UserError as error:
            read = {**bad_row(error), "image": {"bytes": stored}}
        after = read.pop("image")["bytes"]
        return {**read, "converted": after != stored}


def open_hub_dataset(
    source: HubSource,
    requested: HubRequest,
    known: Meaning | None = None,
    streaming: bool = False,
    built_in: "Reader | None" = None,
) -> HubDataset:
    """Open a repository (or a folder in its format), and find columns, names and encoding.

    Args:
        source: the repository; empty column names are inferred.
        requested: what the user specified; it takes precedence.
        known: labels and decoder of a built-in dataset.
        streaming: open without downloading.
        built_in: the reader of a built-in dataset.

    Raises:
        UserError: a repository that can't be loaded, columns or names that can't be found.
    """
    import datasets

    if not Path(source.id).exists() and not is_address(source.id):
        work_offline_without_network()
    with _one_sentence(source):
        if _was_saved_to_disk(Path(source.id)):
            raw = datasets.load_from_disk(source.id)
        elif is_address(source.id):
            raw = open_address(source.id, streaming)
        else:
            raw = datasets.load_dataset(
                source.id,
                requested.config or source.config,
                revision=source.revision,
                data_dir=source.data_dir,
                streaming=streaming,
            )
        if built_in is not None and built_in.INFO is not None and built_in.INFO.hidden_test:
            raw.pop("test", None)
        opened = _opened(source, raw, requested, known, streaming, _places(source.id))
    opened.official_division = getattr(built_in, "divide", None)
    return opened


def _places(name: str) -> Places:
    """Where the files of a repository, a folder or an address are, which its rows may name.

    A row of someone else's dataset must not make us read a file of this machine, or request an
    address. Rows written by `save_to_disk` may name images anywhere on this machine.
    """
    if is_address(name):
        return (f"{folder_of(name)}/",)
    import datasets
    from huggingface_hub import constants

    unpacked = os.path.abspath(datasets.config.DOWNLOADED_DATASETS_PATH)
    if Path(name).is_dir():
        return None if _was_saved_to_disk(Path(name)) else (os.path.abspath(name), unpacked)
    downloaded = Path(constants.HF_HUB_CACHE, f"datasets--{name.replace('/', '--')}")
    repository = f"hf://datasets/{name}"
    return f"{repository}@", f"{repository}/", os.path.abspath(downloaded), unpacked


def _was_saved_to_disk(folder: Path) -> bool:
    """Whether `save_to_disk` of `datasets` wrote the folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def in_hub_format(folder: Path) -> bool:
    """Whether a folder has the Hub's format, or that of `save_to_disk`."""
    return folder.is_dir() and (any(folder.glob("data/*.parquet")) or _was_saved_to_disk(folder))


def opened_in_memory(
    data: Any,
    requested: HubRequest,
    known: Meaning | None,
) -> HubDataset:
    """A `DatasetDict`, a `Dataset`, or what `in_memory.from_torch` reads.

    Raises:
        UserError: columns or names that can't be found.
    """
    import datasets

    if not isinstance(data, datasets.DatasetDict | datasets.Dataset):
        data = from_torch(data)
    return _opened(HubSource("", "", ""), data, requested, known, streaming=False)


def _opened(
    source: HubSource,
    raw: "datasets.DatasetDict | datasets.Dataset",
    requested: HubRequest,
    known: Meaning | None,
    streaming: bool,
    places: Places = None,
) -> HubDataset:
    import datasets

    if isinstance(raw, datasets.Dataset):
        raw = {WHOLE: raw}
    name = source.id or "the dataset"
    splits = raw if WHOLE in raw else _named_splits(name, dict(raw))
    first = next(iter(splits.values()))
    image, label = find_columns(
        name,
        first,
        requested.image_column or source.image,
        requested.label_column or source.label,
        places,
    )
    plain = {name: encoded(split, image, label) for name, split in splits.items()}
    found = HubDataset(
        name,
        plain,
        image,
        label,
        *find_labels(
            source,
            known,
            splits,
            label,
            plain,
            streaming,
            requested.id2label,
            requested.label_map,
            places,
        ),
        places=places,
    )
    found.decoder = found.decoder.sniff(sampled_masks(next(iter(plain.values())), label, places))
    if requested.label_map:
        found.decoder = apply_label_map(found.decoder, found.labels, requested.label_map)
        found.guessed = False
    return found


@contextmanager
def _one_sentence(source: HubSource) -> Iterator[None]:
    """Turn errors of `datasets` and the Hub into one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the Hub's errors, requests', pyarrow's: no common base
        cause = explain_hub_error(error, source.id, "dataset")
        if cause is not None:
            raise UserError(
                f"the dataset {source.id!r} can't be loaded: {cause}, or give a local copy with "
                "--dataset_path"
            ) from error
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"the dataset {source.id!r} can't be loaded ({cause}); check the name, the network "
            "and HF_TOKEN, or give a local copy with --dataset_path"
        ) from error


def _named_splits(name: str, raw: dict[str, Split]) -> dict[str, Split]:
    splits = {}
    for split, aliases in SPLIT_ALIASES.items():
        found = next((alias for alias in aliases if alias in raw), None)
        if found is not None:
            splits[split] = raw[found]
    if len(raw) == 1 and list(splits) in ([], ["train"]):
        return {WHOLE: next(iter(raw.values()))}
    if not splits:
        found = ", ".join(map(str, raw))
        raise UserError(
            f"{name}: its splits ({found}) are not train, validation or test; rename them"
        )
    return splits
