"""Find a dataset: in memory, in a folder, or on the Hub."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfseg.data import hub
from hfseg.data.addresses import check_address, is_address
from hfseg.data.cache import use_writable_cache
from hfseg.data.hub_labels import given_labels
from hfseg.data.info import HubSource
from hfseg.data.label_map import LabelMap, parse_label_map
from hfseg.data.opened import OpenedDataset
from hfseg.data.pairs import Reading
from hfseg.data.readers import DATASETS, ReadOptions, dataset_info, reader
from hfseg.data.splits import DEFAULT_FRACTIONS
from hfseg.errors import UserError
from hfseg.labels import LabelNames


@dataclass(frozen=True)
class LoadOptions:
    """The flags of `load_dataset`, and `on_bad_sample="report"`: collect what would stop it."""

    label_mode: str | None = None
    label_map: LabelMap = ()
    train_val_test_split: str | Sequence[float] = DEFAULT_FRACTIONS
    split_seed: int = 42
    split_by: str | None = None
    id2label: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    dataset_config: str | None = None
    streaming: bool = False
    on_bad_sample: str = "stop"
    preprocessing_num_workers: int | None = None


def open_dataset(
    name: object,
    source: str | None,
    labels: LabelNames | None,
    options: LoadOptions,
) -> OpenedDataset:
    """Find the data: in memory, in a folder, or on the Hub.

    Raises:
        UserError: an unknown name, or a folder that is missing or has another layout.
    """
    label_map = parse_label_map(options.label_map)
    requested = hub.HubRequest(
        options.image_column,
        options.label_column,
        options.id2label,
        options.dataset_config,
        label_map,
    )
    known = given_labels(labels) if labels is not None else None
    name = str(name) if isinstance(name, Path) else name
    if not isinstance(name, str):
        return hub.opened_in_memory(name, requested, known)
    for each in (name, str(source or "")):
        check_address(each)
    if name == "toyscapes" and source is not None:
        raise UserError(
            f"--dataset_path {source} needs --dataset_name, such as --dataset_name folder: "
            "toyscapes is generated and reads no folder"
        )
    use_writable_cache()
    built_in = reader(name)
    _check_label_mode(name, options.label_mode)
    if options.streaming and (name in ("toyscapes", "coco", "folder") or _is_folder(source)):
        raise UserError(f"--streaming is for datasets on the Hub, not for {source or name}")
    place = _hub_source(name, source)
    if place is not None:
        official = getattr(built_in, "labels", None)
        if official is not None:
            known = *official(options.label_mode), (), False
        return hub.open_hub_dataset(place, requested, known, options.streaming, built_in)
    folder = None if source is None else Path(source)
    if folder is not None and name != "coco" and not folder.is_dir():
        raise UserError(f"--dataset_path {source}: not a folder; give the one with the data")
    assert built_in is not None  # `_hub_source` rejects other names
    opened = built_in.read(folder, ReadOptions(options.label_mode, options.id2label, label_map))
    if isinstance(opened, Reading) and folder is not None:
        return opened.settled(folder, label_map)
    return opened


def _check_label_mode(name: str, label_mode: str | None) -> None:
    info = dataset_info(name)
    modes = info.label_modes if info else ()
    if label_mode is not None and label_mode not in modes:
        choice = f"choose {' or '.join(modes)}" if modes else f"{name} has no choice of classes"
        raise UserError(f"--label_mode {label_mode!r}: {choice}")


def _is_folder(source: str | None) -> bool:
    return source is not None and Path(source).exists()


def _hub_source(name: str, source: str | None) -> HubSource | None:
    """The repository on the Hub (or folder in its format); None for other folders."""
    info = dataset_info(name)
    if name not in DATASETS:
        if source is None and hub.in_hub_format(Path(name)):
            return HubSource(name, "", "")
        if Path(name).is_dir():
            raise UserError(
                f"--dataset_name {name} is a folder: give --dataset_name folder --dataset_path "
                f"{source or name}"
            )
        if source is None and (is_address(name) or _could_be_id(name)):
            return HubSource(name, "", "")
        close = difflib.get_close_matches(name, DATASETS, n=1)
        hint = (
            f"did you mean {close[0]!r}?"
            if close
            else f"the built-in ones are {', '.join(DATASETS)}."
        )
        raise UserError(
            f"--dataset_name {name!r} is not a known dataset; {hint} A dataset on the Hub "
            "has the form OWNER/NAME; for a folder of your own give --dataset_name folder "
            "--dataset_path DIR"
        )
    if info is not None and not info.needs_data:
        return None
    if source is None:
        if info is not None and info.hub:
            return info.hub[0]
        raise UserError(f"--dataset_name {name} needs --dataset_path, the folder with the data")
    if Path(source).exists():
        return HubSource(source, "", "") if hub.in_hub_format(Path(source)) else None
    if info is not None and _could_be_id(source):
        return next((copy for copy in info.hub if copy.id == source), HubSource(source, "", ""))
    raise UserError(f"--dataset_path {source}: no such folder; check the path")


def _could_be_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~"))
