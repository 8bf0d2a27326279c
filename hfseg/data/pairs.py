"""Files of images and masks, paired: what the readers of folders return."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from PIL import Image

from hfseg.data.label_map import Values, apply_label_map
from hfseg.data.masks import MaskDecoder, StoredMask, open_image
from hfseg.data.reading import cached, in_order
from hfseg.data.rows import Decoder, Row, read_row
from hfseg.data.splits import SplitPlan
from hfseg.errors import UserError
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")

_SNIFFED = 16


@dataclass(frozen=True)
class Pair:
    """One sample: the image file, and its mask: a file, or what the dataset's decoder takes.

    A mask that is not a file has `path` (the file it comes from) and `key` (which part of that).
    """

    image: str
    mask: Any

    @property
    def mask_path(self) -> str:
        return getattr(self.mask, "path", self.mask)


@dataclass(frozen=True)
class Reading:
    """A dataset that was found on disk and is not decoded yet (an `OpenedDataset`).

    Attributes:
        splits: the pairs of each split.
        labels, decoder: what the masks mean.
        in_time: frames of a video; if they have to be divided, then in their order.
        ignored: names in the dataset's table that are not classes.
        guessed: values are assumed to be ids, without a table of values, so `first_aid` checks.
        root: the folder that the names of the samples are relative to.
    """

    splits: Mapping[str, Sequence[Pair]]
    labels: LabelSet
    decoder: Decoder
    in_time: bool = False
    ignored: tuple[str, ...] = ()
    guessed: bool = False
    root: str = "."

    def names(self, split: str) -> list[str]:
        """The images of a split, relative to the root: the same wherever the folder lies."""
        root = os.path.join(self.root, "")
        return [_relative(pair.image, root) for pair in self.splits[split]]

    def sample(self) -> list[Pair]:
        """A few pairs, spread over all splits."""
        pairs = [pair for split in self.splits.values() for pair in split]
        return pairs[:: max(1, len(pairs) // _SNIFFED)]

    def look(self) -> Iterator[tuple[Image.Image, StoredMask]]:
        """Image and mask of `sample`, those that can be opened."""
        for pair in self.sample():
            with suppress(UserError):
                yield open_image(pair.image), open_image(pair.mask)

    def settled(self, root: Path, label_map: Values = ()) -> "Reading":
        """With the decoder adjusted to how the masks are stored, and to `label_map`."""
        decoder = self.decoder
        if isinstance(decoder, MaskDecoder):
            decoder = decoder.sniff(pair.mask for pair in self.sample())
            if label_map:
                decoder = apply_label_map(decoder, self.labels, label_map)
        elif label_map:
            raise UserError("--label_map is for masks in image files, but this data has shapes")
        guessed = self.guessed and not label_map
        return replace(self, decoder=decoder, guessed=guessed, root=str(root))

    def divide(
        self, names: Mapping[str, Sequence[str]], plan: SplitPlan
    ) -> dict[str, tuple[str, list[int]]]:
        """Undivided data by the plan; the dataset's own splits as they are."""
        return plan.complete(names)

    def build(self, split: str, workers: int | None = None) -> "datasets.Dataset":
        """Decode every mask of a split, and every image once to see that it can be read.

        Images stay the files they are. The result is cached under a name made of the files (path,
        size, time) and the decoder, so that a second call reads it back.

        Args:
            workers: processes that read; None: `reading_workers`.

        Raises:
            UserError: a split without pairs.
        """
        pairs = self.splits[split]
        if not pairs:
            raise UserError(f"the {split} split is empty: add images with masks to it")
        stamps = [
            (p.image, p.mask_path, getattr(p.mask, "key", ""), _stamp(p.image), _stamp(p.mask_path))
            for p in pairs
        ]
        # as one string, since `datasets` takes long to hash a million tuples
        files = hashlib.blake2b(repr(stamps).encode()).hexdigest()
        samples = PairSamples(pairs, self.decoder)
        return cached(split, in_order(split, samples, workers), (files, self.decoder))


def list_images(folder: Path, nested: bool = False) -> dict[str, Path]:
    """stem -> file, sorted by name, of the image files in `folder`.

    Args:
        nested: also those in the folders in it; their stems begin with the folder, `a/frame_1`.
    """
    by_stem: dict[str, Path] = {}
    for name in sorted(_image_files(folder, nested), key=lambda name: name.split("/")):
        stem, file = os.path.splitext(name)[0], folder / name
        if stem in by_stem:
            raise UserError(
                f"{folder}: both {by_stem[stem].name} and {file.name} exist; remove the one "
                "that does not belong to the mask"
            )
        by_stem[stem] = file
    return by_stem


def _image_files(folder: Path, nested: bool) -> Iterator[str]:
    """Names of files that are not hidden, with "/" and relative to the folder.

    As text: making and comparing a `Path` for each takes seconds for 20,000 files.
    """
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if nested and name[0] != "."]
        place = os.path.relpath(parent, folder).replace(os.sep, "/")
        prefix = "" if place == "." else f"{place}/"
        for name in files:
            if name[0] != "." and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield prefix + name


def _raise(error: OSError) -> None:
    raise UserError(f"{error.filename}: the folder can't be read ({error.strerror})") from error


def pair_by_stem(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    mask_folder: Path,
    suffixes: Sequence[str] = ("",),
) -> list[Pair]:
    """Every image with the mask of its name, or of its name and one of `suffixes`.

    A mask that is missing becomes the file it should be, and is reported when it is read.
    """
    pairs = []
    for stem, image in images.items():
        found = next((masks[stem + s] for s in suffixes if stem + s in masks), None)
        pairs.append(Pair(str(image), str(found or mask_folder / f"{stem}{suffixes[0]}.png")))
    return pairs


def read_list(path: Path) -> list[str]:
    """The lines of a split file, without blank ones and comments.

    Raises:
        UserError: no such file, not text, or a name that leads out of the dataset's folder.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file; add it, with one sample of the split per line"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file; save it as UTF-8") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for name in names:
        if name.startswith("/") or ".." in PurePath(name).parts:
            raise UserError(
                f"{path}: {name!r} is outside the dataset's folder; list only images inside it"
            )
    return names


# ---- reading ----


@dataclass(frozen=True)
class PairSamples:
    """Pairs, as `reading.Samples`."""

    pairs: Sequence[Pair]
    decoder: Decoder

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Row:
        pair = self.pairs[index]
        if not os.path.isfile(pair.image):
            raise UserError(
                f"{pair.image}: no such image for the mask {pair.mask_path}; add it or leave both "
                "out"
            )
        if not os.path.isfile(pair.mask_path):
            raise UserError(
                f"{pair.image}: no mask {pair.mask_path} for it; add it or leave both out"
            )
        return read_row(pair.image, pair.mask, self.decoder, pair.image, pair.mask_path)


def _relative(path: str, root: str) -> str:
    """A file's path from the folder `root`, which ends with a separator."""
    inside = path.startswith(root) and ".." not in path
    return (path[len(root) :] if inside else os.path.relpath(path, root)).replace(os.sep, "/")


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None  # reported when the sample is read
    return status.st_size, status.st_mtime_ns
