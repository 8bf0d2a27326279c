"""What the classes of a Hub dataset are called, and what the values of its masks mean."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from hfseg.data.addresses import beside, is_address
from hfseg.data.class_tables import Table, labels_by_value, read_id2label, read_label_table
from hfseg.data.first_aid import raw_values, unnamed_values
from hfseg.data.hub_columns import inner_feature
from hfseg.data.hub_rows import Places, Split, column_features, mask_source
from hfseg.data.info import HubSource
from hfseg.data.label_map import Values, named_by_map
from hfseg.data.masks import MaskDecoder
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, LabelNames, LabelSet

logger = logging.getLogger("hfseg")

LABELS_FILE, ID2LABEL_FILE = "labels.json", "id2label.json"

Meaning = tuple[LabelSet, MaskDecoder, tuple[str, ...], bool]
"""Labels and decoder, the names that are ignored, and whether values are only assumed to be ids."""


def find_labels(
    source: HubSource,
    known: Meaning | None,
    splits: Mapping[str, Split],
    label: str,
    plain: Mapping[str, Split],
    streaming: bool,
    id2label: str | None = None,
    label_map: Values = (),
    places: Places = None,
) -> Meaning:
    """Names from the most explicit source that has them, and the decoder for them.

    Args:
        source: the repository; without an id the data is in memory.
        known: of a built-in dataset, or from `given_labels`.
        splits, plain: the raw splits, unchanged and with nothing decoded.
        label: the mask column.
        id2label, label_map: what the user gave.
        places: where the files are that rows may name.

    Raises:
        UserError: no names, with `streaming`; or values that can't be ids.
    """
    if id2label:
        return _decoded(read_label_table(Path(id2label)))
    stored = _repository_file(source, LABELS_FILE)
    if stored is not None:  # written by push_dataset: the masks are ids
        labels = LabelSet.load(stored)
        return labels, MaskDecoder.for_labels(labels), (), False
    if known is not None:
        return known
    names = _class_label_names(column_features(next(iter(splits.values()))).get(label))
    if names:
        return _decoded(labels_by_value(dict(enumerate(names))))
    stored = _repository_file(source, ID2LABEL_FILE)
    if stored is not None:
        return _decoded(labels_by_value(read_id2label(stored)))
    if streaming:
        raise UserError(
            f"{source.id}: it has no class names, and with --streaming they can't be counted; "
            "give --id2label FILE"
        )
    return _numbered(source, plain, label, label_map, places)


def given_labels(labels: LabelNames) -> Meaning:
    """The classes that a user names for masks without a table of values.

    Raises:
        UserError: anything but a `LabelSet`, a list of names, or a dictionary by mask value.
    """
    if isinstance(labels, LabelSet):
        return labels, MaskDecoder.for_labels(labels), (), True
    if isinstance(labels, Mapping):
        names = dict(labels)
    elif isinstance(labels, Sequence) and not isinstance(labels, str):
        names = dict(enumerate(labels))
    else:
        names = {}
    valid = all(isinstance(each, str) for each in names.values())
    if not names or not valid or not all(type(value) is int for value in names):
        raise UserError(
            "labels= takes a hfseg.LabelSet, a list of names such as ['background', 'pet'], or a "
            f"dictionary such as {{0: 'background', 1: 'pet'}}, not {str(labels)[:60]!r}"
        )
    return _decoded(labels_by_value(names))


def _decoded(table: Table) -> Meaning:
    labels, ids, ignored = table
    return labels, MaskDecoder.for_labels(labels, ids=ids), ignored, not ids


def _class_label_names(feature: object) -> list[str] | None:
    import datasets

    while feature is not None:
        if isinstance(feature, datasets.ClassLabel):
            return list(feature.names)
        feature = inner_feature(feature)
    return None


def _numbered(
    source: HubSource,
    plain: Mapping[str, Split],
    label: str,
    label_map: Values,
    places: Places,
) -> Meaning:
    """The values that occur are the classes; one pass over all masks."""
    title = source.id or "the dataset"
    found: set[int] = set()
    for name, split in plain.items():
        for index, row in enumerate(split):
            where = f"{title}, {name} row {index}"
            found |= raw_values([mask_source(row[label], where, places)])
    if label_map:
        return _decoded(labels_by_value(named_by_map(found - {IGNORE_INDEX}, label_map)))
    unnamed_values(title, found)
    found.discard(IGNORE_INDEX)
    if max(found) >= IGNORE_INDEX:
        raise UserError(
            f"{title}: a mask contains {max(found)}, but ids end at 254; give --label_map"
        )
    logger.warning(
        "%s has no class names: they are numbered 0 to %d; give names with %s",
        title,
        max(found),
        "--id2label FILE" if source.id else "labels=['NAME', ...]",
    )
    labels = LabelSet.numbered(max(found) + 1)
    return labels, MaskDecoder(num_labels=len(labels)), (), False


def _repository_file(source: HubSource, name: str) -> Path | None:
    """A file of the repository, or None if it has none."""
    if not source.id:  # in memory
        return None
    if is_address(source.id):
        return beside(source.id, name)
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


def id2label_json(labels: LabelSet) -> str:
    """The content of `id2label.json`, common on the Hub."""
    names = {str(index): name for index, name in labels.id2label.items()}
    return json.dumps(names, indent=1, ensure_ascii=False) + "\n"
