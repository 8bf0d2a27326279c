"""`load_dataset`: one call for built-in datasets, a user's own, and anyone's on the Hub."""

import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from hfseg.data import first_aid, orientation
from hfseg.data.cache import check_cache
from hfseg.data.info import HubSource
from hfseg.data.label_map import LabelMap, parse_label_map
from hfseg.data.readers import DATASETS, ReadOptions, dataset_info, reader
from hfseg.data.rows import FACTS
from hfseg.data.splits import DEFAULT_FRACTIONS, WHOLE, SplitPlan, parse_fractions
from hfseg.errors import UserError
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger("hfseg")

_SHOWN = 3


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


class OpenedDataset(Protocol):
    """A dataset that was found and is not decoded yet: from a folder, the Hub, or drawn."""

    splits: Mapping[str, Any]
    labels: LabelSet
    in_time: bool
    ignored: tuple[str, ...]
    guessed: bool

    def names(self, split: str) -> Sequence[str]:
        """What the samples of a split are called; it decides how they are divided."""
        ...

    def look(self) -> Iterator[tuple[Image.Image, Any]]:
        """A few images, and their masks as they are stored."""
        ...

    def divide(
        self, names: Mapping[str, Sequence[str]], plan: SplitPlan
    ) -> dict[str, tuple[str, list[int]]]:
        """What train, validation and test are made of, as `SplitPlan.complete` says it."""
        ...

    def build(self, split: str) -> "datasets.Dataset":
        """The split with the columns `image`, `label` and `rows.FACTS`."""
        ...


@dataclass
class LoadedDataset:
    """A dataset that was read, and what was found while reading it.

    Attributes:
        data: columns `image` and `label` by split.
        labels: names and colors of the classes.
        problems: a sentence for each sample that can't be used.
        findings: what would stop training although every sample can be read.
        warnings: what can be trained on but looks wrong.
    """

    data: "datasets.DatasetDict"
    labels: LabelSet
    problems: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def load_dataset(
    name: Any,
    source: str | None = None,
    split: str | None = None,
    *,
    labels: LabelSet | None = None,
    label_mode: str | None = None,
    label_map: LabelMap = (),
    train_val_test_split: str | Sequence[float] = DEFAULT_FRACTIONS,
    split_seed: int = 42,
    split_by: str | None = None,
    id2label: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    dataset_config: str | None = None,
    streaming: bool = False,
    on_bad_sample: str = "stop",
) -> "tuple[datasets.DatasetDict, LabelSet]":
    """Read a dataset into the columns `image` (RGB) and `label` (mode L: ids, 255 = ignored).

    What looks wrong although it can be read is logged as a warning.

    Args:
        name: a built-in dataset (`hfseg.data.DATASETS`), `coco`, `folder`, a Hub id, a local
            folder in the Hub's format or from `save_to_disk`; or a dataset in memory: a
            `DatasetDict`, a `Dataset`, or what `in_memory.from_torch` reads.
        source: the data's folder, or another Hub id for a built-in dataset (`--dataset_path`).
        split: only this split (still inside a `DatasetDict`).
        labels: names and colors, for a dataset in memory or on the Hub whose masks hold ids.
        label_mode: which classes are made of the masks, where a dataset offers a choice.
        label_map: raw mask value -> class name, id or `ignore`, as a dictionary or as strings such
            as `255=road`; other values keep their meaning.
        train_val_test_split: fractions, for data without splits of its own.
        split_seed: seed of that split.
        split_by: `time` or `group`, instead of at random.
        id2label: a file with class names.
        image_column, label_column, dataset_config: of a Hub dataset, where they can't be found.
        streaming: leave the training split of a Hub dataset where it is: it becomes an
            `IterableDataset`; the other splits are read to their end.
        on_bad_sample: `stop`, or `skip` and list what was left out in the log.

    Returns:
        A `datasets.DatasetDict` with `train`, `validation` and perhaps `test`, and the `LabelSet`.

    Raises:
        UserError: an unknown name, a folder that isn't there, samples that can't be read, masks
            that are almost certainly read wrongly (see `first_aid`), or a cache folder that can't
            be written.
    """
    if on_bad_sample not in ("stop", "skip"):
        raise UserError(f"--on_bad_sample {on_bad_sample!r}: choose stop or skip")
    options = LoadOptions(
        label_mode,
        label_map,
        train_val_test_split,
        split_seed,
        split_by,
        id2label,
        image_column,
        label_column,
        dataset_config,
        streaming,
        on_bad_sample,
    )
    loaded = read_dataset(name, source, split, options, labels)
    for warning in loaded.warnings:
        logger.warning("%s", warning)
    return loaded.data, loaded.labels


def read_dataset(
    name: Any,
    source: str | None = None,
    split: str | None = None,
    options: LoadOptions = LoadOptions(),
    labels: LabelSet | None = None,
) -> LoadedDataset:
    """`load_dataset` with its findings returned.

    Raises:
        UserError: as `load_dataset`; with `on_bad_sample="report"` only where nothing can be read.
    """
    on_bad_sample = options.on_bad_sample
    plan = SplitPlan(
        parse_fractions(options.train_val_test_split), options.split_seed, options.split_by
    )
    opened = _open(name, source, labels, options)
    if opened.in_time:
        plan = replace(plan, by=plan.by or "time")
    if options.streaming:
        return _streamed(opened, split, plan, on_bad_sample)
    findings = first_aid.check_sample(opened)
    _stop(findings, on_bad_sample)
    built = {part: opened.build(part) for part in _needed(split, opened.splits)}
    if orientation.is_open(built):  # then the dataset as a whole decides
        built |= {part: opened.build(part) for part in opened.splits if part not in built}
    problems = [problem for rows in built.values() for problem in rows["problem"][:] if problem]
    _report(problems, built, on_bad_sample)
    if findings and problems:  # the cause, rather than what follows from it
        _stop(findings, "stop" if len(problems) == sum(map(len, built.values())) else "report")
    kept = {part: _good_rows(part, rows) for part, rows in built.items()}
    built, warnings = orientation.settle(
        {part: rows.select(kept[part]) for part, rows in built.items()}
    )
    names = {part: opened.names(part) for part in built}
    division = opened.divide(
        {part: [names[part][row] for row in kept[part]] for part in built}, plan
    )
    data = {part: built[origin].select(chosen) for part, (origin, chosen) in division.items()}
    facts = {part: rows.select_columns(list(FACTS)) for part, rows in data.items()}
    findings += first_aid.check_classes(facts, opened)
    _stop(findings, on_bad_sample)
    warnings += first_aid.warnings(facts, opened.labels)
    if split is not None:
        data = {split: data[known_split(split, data, str(name))]}
    logger.info("%s", first_aid.class_list(opened))
    return LoadedDataset(_without_facts(data), opened.labels, problems, findings, warnings)


def _streamed(opened: Any, split: str | None, plan: SplitPlan, on_bad_sample: str) -> LoadedDataset:
    """The training split as a stream, the others read to their end."""
    import datasets

    from hfseg.data.streaming import training_stream

    if "train" not in opened.splits or "validation" not in opened.splits:
        raise UserError(
            f"{opened.name}: --streaming needs a train and a validation split; it has "
            f"{', '.join(opened.splits)}"
        )
    data: dict[str, Any] = {}
    parts = opened.splits if split is None else [known_split(split, opened.splits, opened.name)]
    for part in parts:
        if part == "train":
            data[part] = training_stream(opened, on_bad_sample != "stop", plan.seed)
            continue
        rows = {part: opened.build(part)}
        _report([problem for problem in rows[part]["problem"][:] if problem], rows, on_bad_sample)
        good = rows[part].select(_good_rows(part, rows[part]))
        data |= _without_facts(orientation.settle({part: good})[0])
    return LoadedDataset(datasets.DatasetDict(data), opened.labels)


def _without_facts(data: "Mapping[str, datasets.Dataset]") -> "datasets.DatasetDict":
    import datasets

    return datasets.DatasetDict(
        {part: rows.select_columns(["image", "label"]) for part, rows in data.items()}
    )


# ---- problems ----


def _stop(findings: list[str], on_bad_sample: str) -> None:
    if findings and on_bad_sample != "report":
        raise UserError("; ".join(findings))


def _report(
    problems: list[str], built: "Mapping[str, datasets.Dataset]", on_bad_sample: str
) -> None:
    if not problems or on_bad_sample == "report":
        return
    count = sum(len(rows) for rows in built.values())
    if on_bad_sample == "skip":
        lines = "".join(f"\n  {problem}" for problem in problems)
        logger.warning("left out %d of %d samples:%s", len(problems), count, lines)
        return
    ways_out = "`hfseg inspect` lists all problems, --on_bad_sample skip trains on the rest"
    if len(problems) == 1:
        raise UserError(f"{problems[0]} ({ways_out})")
    lines = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
    more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    raise UserError(f"{len(problems)} of {count} samples can't be used:{lines}{more}\n{ways_out}")


def _good_rows(split: str, rows: "datasets.Dataset") -> list[int]:
    problems = rows["problem"][:]
    good = [index for index, problem in enumerate(problems) if problem is None]
    if not good:
        what = "data" if split == WHOLE else f"{split} split"
        raise UserError(
            f"the {what} has no sample that can be used; the first problem: {problems[0]}"
        )
    return good


# ---- finding the data ----


def known_split(split: str, splits: Iterable[str], name: str) -> str:
    """The split, if it is one of `splits`; else a `UserError`."""
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split


def _needed(split: str | None, splits: Mapping[str, Any]) -> list[str]:
    """The parts to build for one split: that part alone where nothing has to be divided."""
    return [split] if split in splits and "validation" in splits else list(splits)


def _open(
    name: Any,
    source: str | None,
    labels: LabelSet | None,
    options: LoadOptions,
) -> OpenedDataset:
    """Find the data: in memory, in a folder, or on the Hub."""
    from hfseg.data import hub
    from hfseg.data.masks import MaskDecoder
    from hfseg.data.pairs import Reading

    label_map = parse_label_map(options.label_map)
    requested = hub.HubRequest(
        options.image_column,
        options.label_column,
        options.id2label,
        options.dataset_config,
        label_map,
    )
    known = (labels, MaskDecoder.for_labels(labels)) if labels is not None else None
    if not isinstance(name, str):
        return hub.opened_in_memory(name, requested, known)
    check_cache()
    built_in = reader(name)
    _check_label_mode(name, options.label_mode)
    if options.streaming and (name in ("toyscapes", "coco", "folder") or _is_folder(source)):
        raise UserError(f"--streaming is for datasets on the Hub, not for {source or name}")
    place = _hub_source(name, source)
    if place is not None:
        official = getattr(built_in, "labels", None)
        if official is not None:
            known = official(options.label_mode)
        return hub.open_hub_dataset(place, requested, known, options.streaming, built_in)
    folder = None if source is None else Path(source)
    if folder is not None and name != "coco" and not folder.is_dir():
        raise UserError(f"--dataset_path {source}: not a folder")
    opened = built_in.read(  # type: ignore[union-attr]
        folder, ReadOptions(options.label_mode, options.id2label, label_map)
    )
    return opened.settled(folder, label_map) if isinstance(opened, Reading) else opened


def _check_label_mode(name: str, label_mode: str | None) -> None:
    info = dataset_info(name)
    modes = info.label_modes if info else ()
    if label_mode is not None and label_mode not in modes:
        choice = f"choose {' or '.join(modes)}" if modes else f"{name} has no choice of classes"
        raise UserError(f"--label_mode {label_mode!r}: {choice}")


def _is_folder(source: str | None) -> bool:
    return source is not None and Path(source).exists()


def _hub_source(name: str, source: str | None) -> HubSource | None:
    """Where on the Hub (or in which folder of its form) the data is; None for other folders."""
    from hfseg.data.hub import in_hub_format

    info = dataset_info(name)
    if name not in DATASETS:
        if source is None and (in_hub_format(Path(name)) or _could_be_id(name)):
            return HubSource(name, "", "")
        close = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(DATASETS)}."
        raise UserError(
            f"--dataset_name {name!r} is not a dataset hfseg knows; {hint} A dataset on the Hub "
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
        return HubSource(source, "", "") if in_hub_format(Path(source)) else None
    if info is not None and _could_be_id(source):
        return next((copy for copy in info.hub if copy.id == source), HubSource(source, "", ""))
    raise UserError(f"--dataset_path {source}: no such folder")


def _could_be_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~"))
