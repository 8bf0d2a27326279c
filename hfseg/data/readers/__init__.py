"""The built-in datasets: each module here reads one, and its name is the `--dataset_name`.

This folder is the list of them. A new dataset is a new module that implements `Reader`.
"""

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hfseg.data.info import DatasetInfo
from hfseg.data.label_map import Values

if TYPE_CHECKING:
    from hfseg.data.opened import OpenedDataset


@dataclass(frozen=True)
class ReadOptions:
    """The user's options for a dataset.

    Attributes:
        label_mode: which classes are made of the masks, one of `DatasetInfo.label_modes`.
        id2label: a file with class names.
        label_map: raw mask value -> class.
    """

    label_mode: str | None = None
    id2label: str | None = None
    label_map: Values = ()


class Reader(Protocol):
    """The interface of the modules in this package.

    A dataset with copies on the Hub also has `labels(label_mode) -> (LabelSet, MaskDecoder)`, and
    `divide(splits)` where its official splits have to be divided.

    Attributes:
        INFO: the facts about the dataset; None for formats that hold anyone's data.
    """

    INFO: DatasetInfo | None

    def read(self, folder: Path | None, options: ReadOptions) -> "OpenedDataset":
        """Find the splits, the labels and how masks are decoded.

        Raises:
            UserError: a folder without the expected layout.
        """
        ...


DATASETS: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def reader(name: str) -> Reader | None:
    """The module of a built-in dataset, or None for any other name."""
    return import_module(f"{__name__}.{name}") if name in DATASETS else None


def dataset_info(name: str) -> DatasetInfo | None:
    """The facts about a built-in dataset, or None for any other name."""
    found = reader(name)
    return None if found is None else found.INFO
