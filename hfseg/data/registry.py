"""`load_dataset`: one call for built-in data sets, a user's own, and anyone's on the Hub."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.data import in_memory
from hfseg.data.cache import check_cache
from hfseg.data.info import BUILT_IN, HubSource, built_in_module, dataset_info
from hfseg.data.splits import DEFAULT_FRACTIONS, SplitPlan, parse_fractions
from hfseg.errors import UserError
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

    from hfseg.data.pairs import OnBadSample, Reading
    from hfseg.data.readers.hub import Wishes

DATASETS = (*BUILT_IN, "coco", "folder")


def load_dataset(
    name: Any,
    source: str | None = None,
    split: str | None = None,
    *,
    labels: LabelSet | None = None,
    label_mode: str | None = None,
    train_val_test_split: str | Sequence[float] = DEFAULT_FRACTIONS,
    split_seed: int = 42,
    split_by: str | None = None,
    id2label: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    dataset_config: str | None = None,
    streaming: bool = False,
    on_bad_sample: "OnBadSample" = "stop",
) -> "tuple[datasets.DatasetDict, LabelSet]":
    """Read a data set into the columns `image` (RGB) and `label` (mode L: ids, 255 = ignored).

    Args:
        name: a built-in data set (`hfseg.data.DATASETS`), `coco`, `folder`, a Hub id, or a local
            folder in the Hub's format; or a dataset object (`hfseg.data.in_memory`).
        source: the data's folder, or another Hub id for a built-in data set (`--dataset_path`).
        split: only this split (still inside a `DatasetDict`).
        labels: names and colors of the classes, for a dataset object.
        label_mode: which classes are made of the masks, where a data set offers a choice.
        train_val_test_split: shares, for data without splits of its own.
        split_seed: seed of that split.
        split_by: `time` or `group`, instead of at random.
        id2label: a file with class names.
        image_column, label_column, dataset_config: of a Hub data set, where they can't be told.
        streaming: leave the training split of a Hub data set where it is: it becomes an
            `IterableDataset`; the other splits are read to their end.
        on_bad_sample: `stop`; `skip`, and list what was left out in the log; or a function that
            gets the split, the problems and the number of samples.

    Returns:
        A `datasets.DatasetDict` with `train`, `validation` and perhaps `test`, and the `LabelSet`.

    Raises:
        UserError: an unknown name, a folder that isn't there, a sample that can't be read, or a
            cache folder that can't be written.
    """
    import datasets

    from hfseg.data.pairs import build_split
    from hfseg.data.readers.hub import Wishes

    plan = SplitPlan(parse_fractions(train_val_test_split), split_seed, split_by)
    if not isinstance(name, str):
        data, labels = in_memory.read(name, labels, plan)
        return data if split is None else datasets.DatasetDict(
            {split: data[_known(split, data, "the dataset")]}
        ), labels
    check_cache()
    _check_label_mode(name, label_mode)
    if streaming and (name in ("toyscapes", "coco", "folder") or _is_folder(source)):
        raise UserError(f"--streaming is for data sets on the Hub, not for {source or name}")
    if name == "toyscapes":
        from hfseg.data import toyscapes

        parts = list(toyscapes.SPLITS) if split is None else [_known(split, toyscapes.SPLITS, name)]
        return datasets.DatasetDict({part: _draw(part) for part in parts}), toyscapes.LABELS
    hub = _hub_source(name, source)
    if hub is not None:
        wishes = Wishes(image_column, label_column, id2label, dataset_config)
        return _load_hub(name, hub, wishes, split, label_mode, plan, streaming, on_bad_sample)
    reading = _read_folder(name, source, label_mode, id2label)
    if reading.in_time:
        plan = replace(plan, by=plan.by or "time")
    wanted = _needed(split, reading.splits)
    built = {
        part: build_split(part, reading.splits[part], reading.decoder, on_bad_sample)
        for part in wanted
    }
    names = {
        part: [_name(reading.splits[part][row].image, str(source)) for row in kept]
        for part, (_, kept) in built.items()
    }
    return _divided(name, split, built, plan.complete(names)), reading.labels


def _name(file: str, folder: str) -> str:
    """What a sample is called when data is divided: the same wherever the folder lies."""
    return Path(os.path.relpath(file, folder)).as_posix()


def _needed(split: str | None, splits: Mapping[str, Any]) -> list[str]:
    """The parts to build for one split: that part alone where nothing has to be divided."""
    return [split] if split in splits and "validation" in splits else list(splits)


def _divided(
    name: str,
    split: str | None,
    built: "Mapping[str, tuple[datasets.Dataset, list[int]]]",
    division: Mapping[str, tuple[str, list[int]]],
) -> "datasets.DatasetDict":
    import datasets

    data = {part: built[origin][0].select(chosen) for part, (origin, chosen) in division.items()}
    if split is not None:
        data = {split: data[_known(split, data, name)]}
    return datasets.DatasetDict(data)


def _check_label_mode(name: str, label_mode: str | None) -> None:
    info = dataset_info(name)
    modes = info.label_modes if info else ()
    if label_mode is not None and label_mode not in modes:
        choice = f"choose {' or '.join(modes)}" if modes else f"{name} has no choice of classes"
        raise UserError(f"--label_mode {label_mode!r}: {choice}")


def _is_folder(source: str | None) -> bool:
    return source is not None and Path(source).exists()


def _in_hub_format(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("data/*.parquet"))


def _hub_source(name: str, source: str | None) -> HubSource | None:
    """Where on the Hub (or in which folder of its form) the data is; None for other folders."""
    info = dataset_info(name)
    if name not in DATASETS:
        if source is None and (_in_hub_format(Path(name)) or _could_be_id(name)):
            return HubSource(name, "", "")
        close = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(DATASETS)}"
        raise UserError(
            f"--dataset_name {name!r} is not a data set hfseg knows; {hint} "
            "A data set of the Hub has the form OWNER/NAME."
        )
    if source is None:
        if info is not None and info.hub:
            return info.hub[0]
        raise UserError(f"--dataset_name {name} needs --dataset_path, the folder with the data")
    if Path(source).exists():
        return HubSource(source, "", "") if _in_hub_format(Path(source)) else None
    if info is not None and _could_be_id(source):
        return next((copy for copy in info.hub if copy.id == source), HubSource(source, "", ""))
    raise UserError(f"--dataset_path {source}: no such folder")


def _could_be_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~"))


def _read_folder(
    name: str, source: str | None, label_mode: str | None, id2label: str | None
) -> "Reading":
    folder = Path(str(source))
    if name == "coco":
        from hfseg.data.readers import coco

        return coco.read(folder)
    if not folder.is_dir():
        raise UserError(f"--dataset_path {source}: not a folder")
    if name == "folder":
        from hfseg.data.readers.folder import read

        return read(folder, id2label)
    return built_in_module(name).read(folder, label_mode)


def _load_hub(
    name: str,
    source: HubSource,
    wishes: "Wishes",
    split: str | None,
    label_mode: str | None,
    plan: SplitPlan,
    streaming: bool,
    on_bad_sample: "OnBadSample",
) -> "tuple[datasets.DatasetDict, LabelSet]":
    import datasets

    from hfseg.data.readers.hub import downloaded_split, open_hub_dataset, streamed_split

    module = built_in_module(name) if name in BUILT_IN else None
    known = module.labels(label_mode) if module is not None else None
    data = open_hub_dataset(source, wishes, known, streaming)
    if module is not None and module.INFO.hidden_test:
        data.splits.pop("test", None)
    if streaming:
        if "train" not in data.splits or "validation" not in data.splits:
            raise UserError(
                f"{source.id}: --streaming needs a train and a validation split; it has "
                f"{', '.join(data.splits)}"
            )
        from hfseg.data.streaming import training_stream

        parts = list(data.splits) if split is None else [_known(split, data.splits, name)]
        return datasets.DatasetDict(
            {
                part: training_stream(data, on_bad_sample, plan.seed)
                if part == "train"
                else streamed_split(data, part, on_bad_sample)
                for part in parts
            }
        ), data.labels
    divide = getattr(module, "divide", None)
    own_division = divide is not None and set(data.splits) == {"train", "test"}
    wanted = list(data.splits) if own_division else _needed(split, data.splits)
    built = {part: downloaded_split(data, part, on_bad_sample) for part in wanted}
    if own_division:
        division = {
            part: ("test" if part == "test" else "train", list(chosen))
            for part, chosen in divide(
                {k: range(len(rows)) for k, (rows, _) in built.items()}
            ).items()
        }
    else:
        names = {part: [str(row) for row in kept] for part, (_, kept) in built.items()}
        division = plan.complete(names)
    return _divided(name, split, built, division), data.labels


def _known(split: str, splits: Iterable[str], name: str) -> str:
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split


def _draw(split: str) -> "datasets.Dataset":
    """One split of toyscapes, drawn once and cached under a hash of the code that draws it."""
    from hfseg.data import toyscapes
    from hfseg.data.pairs import cached_dataset

    code = [path.read_bytes() for path in sorted(Path(toyscapes.__file__).parent.glob("*.py"))]
    rows = {"split": split, "count": toyscapes.SPLITS[split]}
    return cached_dataset(split, _scene_rows, rows, [toyscapes.SPLITS, *code])[0]


def _scene_rows(split: str, count: int) -> Iterator[dict[str, Any]]:
    from hfseg.data import toyscapes
    from hfseg.data.masks import encode_png

    for index in range(count):
        image, label = toyscapes.draw_scene(split, index)
        yield {"image": {"bytes": encode_png(image)}, "label": {"bytes": encode_png(label)}}
