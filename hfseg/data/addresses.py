"""Datasets at any address that fsspec reads: s3://, gs://, hf://, https://, file://.

They are parquet files in the Hub's format, or tars in that of WebDataset: `0001.jpg` beside
`0001.png` or `0001.mask.png`. An address names files, `https://host/train-{0000..0015}.tar`, or a
folder of them.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hfseg.data.splits import SPLIT_ALIASES
from hfseg.errors import UserError

if TYPE_CHECKING:
    import datasets

_BUILDERS = {".parquet": "parquet", ".tar": "webdataset"}
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SECRET = re.compile(
    r"https?://[^/\s]*@|\b(?:s?ftp|smb|ssh)://[^/\s@]*:[^/\s]*@"
    r"|[?&][^=&]*(?:token|key|sig|secret|password|credential)[^=&]*=",
    re.IGNORECASE,
)


def is_address(name: str) -> bool:
    """Whether a dataset is named by its address."""
    return "://" in name


def check_address(address: str) -> None:
    """Raise a UserError, which does not repeat it, for an address that holds a secret."""
    if _SECRET.search(address):
        raise UserError(
            "the address of the data holds a password or a token, which recipes and caches would "
            "keep; leave it out, and give it to fsspec in the environment, such as "
            'FSSPEC_HTTPS=\'{"headers": {"Authorization": "Bearer ..."}}\''
        )


def open_address(
    address: str, streaming: bool
) -> "datasets.DatasetDict | datasets.IterableDatasetDict":
    """Its raw splits.

    Raises:
        UserError: no parquet or tar files there.
    """
    import datasets

    files = data_files(address)
    suffixes = {Path(file).suffix for part in files.values() for file in part}
    if len(suffixes) != 1:
        found = " and ".join(sorted(suffixes)) or "none"
        raise UserError(f"{address}: give parquet files or tars, of one kind; found {found}")
    return datasets.load_dataset(_BUILDERS[suffixes.pop()], data_files=files, streaming=streaming)


def data_files(address: str) -> dict[str, list[str]]:
    """The files of each split, which their names or folders tell; others are to train on."""
    if Path(address).suffix in _BUILDERS:
        files = expanded(address)
    else:
        import fsspec

        system, folder = fsspec.core.url_to_fs(address)
        files = [
            system.unstrip_protocol(file)
            for suffix in _BUILDERS
            for file in sorted(system.glob(f"{folder.rstrip('/')}/**/*{suffix}"))
        ]
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_split_of(file), []).append(file)
    return {split: found[split] for split in SPLIT_ALIASES if split in found}


def expanded(address: str) -> list[str]:
    """`a-{08..10}.tar` -> `a-08.tar`, `a-09.tar`, `a-10.tar`; `{a,b}.tar` -> `a.tar`, `b.tar`."""
    braces = _BRACES.search(address)
    if braces is None:
        return [address]
    before, after = address[: braces.start()], address[braces.end() :]
    found = (each for choice in _choices(braces[1]) for each in expanded(before + choice + after))
    return list(dict.fromkeys(found))  # a choice beside inner braces comes once for each of them


def _choices(braces: str) -> Iterator[str]:
    bounds = _RANGE.fullmatch(braces)
    if bounds is None:
        yield from braces.split(",")
        return
    first, last = bounds.groups()
    for number in range(int(first), int(last) + 1):
        yield str(number).zfill(len(first))


def _split_of(file: str) -> str:
    words = re.split(r"[^a-z]+", "/".join(file.split("/")[-2:]).lower())
    for split, aliases in SPLIT_ALIASES.items():
        if set(aliases) & set(words):
            return split
    return "train"


def folder_of(address: str) -> str:
    """The folder that an address of files is in, or is, without a slash at its end."""
    folder = posixpath.dirname(address) if Path(address).suffix in _BUILDERS else address
    return folder.rstrip("/")


def beside(address: str, name: str) -> Path | None:
    """A small file in the folder of an address, fetched; None if there is none."""
    import fsspec

    try:
        fetched = fsspec.open_local(f"simplecache::{folder_of(address)}/{name}")
    except (FileNotFoundError, PermissionError):
        return None
    return Path(str(fetched))
