"""What identifies the data of a run, so that a resumed run notices when the data has changed.

Modification times differ between copies and can be wrong, so only names, sizes and content count.
Reading all images would take minutes on large datasets: of most only the size is compared, but of
every mask the content.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeAlias

import datasets
import numpy as np
from PIL import features

from hfseg.data.rows import sample_names
from hfseg.labels import LabelSet

_READ = 64
"""Samples per split that are compared byte by byte and pixel by pixel, spread over the split."""

Fingerprint: TypeAlias = dict[str, Any]
"""`classes`, `encoder` and, by split, `splits`; values for JSON."""


def fingerprint(data: Mapping[str, Any], labels: LabelSet) -> Fingerprint:
    """The fingerprint of the splits of a run; streamed ones, which have no length, are left out."""
    return {
        "classes": list(labels.names),
        # the ids of a mask are stored as PNG, whose bytes depend on the compression library
        "encoder": f"zlib {features.version_codec('zlib')}, {features.version('zlib_ng')}",
        "splits": {
            split: _of_split(rows, split)
            for split, rows in data.items()
            if hasattr(rows, "__len__")
        },
    }


def what_changed(before: Fingerprint, now: Fingerprint) -> str | None:
    """The first difference between two fingerprints in a few words, or None."""
    if before["classes"] != now["classes"]:
        return f"its classes were {_listed(before['classes'])}, now {_listed(now['classes'])}"
    if before["splits"].keys() != now["splits"].keys():
        return f"its splits were {_listed(before['splits'])}, now {_listed(now['splits'])}"
    same_encoder = before["encoder"] == now["encoder"]
    for split, old in before["splits"].items():
        new = now["splits"][split]
        if old["samples"] != new["samples"]:
            return f"{split} had {old['samples']} samples, now {new['samples']}"
        if old["names"] != new["names"]:
            return f"files of {split} were renamed"
        for name, digest in old["read"].items():
            if new["read"].get(name) != digest:
                return f"{name} in {split} has changed"
        if same_encoder and old["stored"] != new["stored"]:
            return f"images or masks of {split} have changed"
    return None


def also_in(split: Mapping[str, Any], rows: datasets.Dataset, names: Sequence[str]) -> list[str]:
    """The names of those `rows` that a split of a fingerprint has with the same file and content.

    Found are only samples that were read for the fingerprint: all of a small split, 64 or more of
    a large one.
    """
    read = split["read"]
    files, contents = {PurePath(name).name for name in read}, set(read.values())
    alike = [index for index, name in enumerate(names) if PurePath(name).name in files]
    return [names[index] for index in alike if _digest(_content(rows, index)) in contents]


def _of_split(rows: datasets.Dataset, split: str) -> dict[str, Any]:
    names = sample_names(rows, split)
    step = max(1, len(rows) // _READ)
    chosen = range(0, len(rows), step)
    return {
        "samples": len(rows),
        "names": _digest(name.encode() for name in names),
        "stored": _digest(_stored(rows)),
        "read": {names[index]: _digest(_content(rows, index)) for index in chosen},
    }


def _stored(rows: datasets.Dataset) -> Iterator[bytes]:
    """The size of each image and the stored bytes of each mask."""
    for row in _undecoded(rows):
        image, label = row["image"], row["label"]
        size = Path(image["path"]).stat().st_size if image["bytes"] is None else len(image["bytes"])
        yield str(size).encode()
        yield label["bytes"] or Path(label["path"]).read_bytes()


def _content(rows: datasets.Dataset, index: int) -> Iterator[bytes]:
    """The bytes of one image as stored, and the pixels of its mask."""
    image = _undecoded(rows)[index]["image"]
    yield image["bytes"] or Path(image["path"]).read_bytes()
    label = np.asarray(rows[index]["label"])
    yield repr(label.shape).encode()
    yield label.tobytes()


def _undecoded(rows: datasets.Dataset) -> datasets.Dataset:
    rows = rows.select_columns(["image", "label"])
    for column in ("image", "label"):
        rows = rows.cast_column(column, datasets.Image(decode=False))
    return rows


def _digest(parts: Iterable[bytes]) -> str:
    """Each part with its length, so that parts can't run into one another."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:6]) + (f", ... ({len(names)})" if len(names) > 6 else "")
