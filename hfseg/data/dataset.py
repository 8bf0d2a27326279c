"""`load_dataset`: one call for built-in datasets, a user's own, and anyone's on the Hub."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hfseg.data import first_aid, orientation
from hfseg.data.hub import HubDataset
from hfseg.data.label_map import LabelMap
from hfseg.data.locate import LoadOptions, open_dataset
from hfseg.data.rows import FACTS, sample_names
from hfseg.data.splits import DEFAULT_FRACTIONS, WHOLE, SplitPlan, parse_fractions
from hfseg.errors import UserError
from hfseg.labels import LabelNames, LabelSet

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger("hfseg")

_SHOWN = 3


@dataclass
class LoadedDataset:
    """A dataset and the findings from reading it.

    Attributes:
        data: columns `image` and `label` by split.
        labels: names and colors of the classes.
        problems: one sentence per sample that can't be used.
        findings: what would stop training even if every sample can be read.
        warnings: what does not stop training but looks wrong.
    """

    data: "datasets.DatasetDict"
    labels: LabelSet
    problems: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def load_dataset(
    name: object,
    source: str | None = None,
    split: str | None = None,
    *,
    labels: LabelNames | None = None,
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
    preprocessing_num_workers: int | None = None,
) -> "tuple[datasets.DatasetDict, LabelSet]":
    """Read a dataset into the columns `image` (RGB) and `label` (mode L: ids, 255 = ignored).

    Data that can be read but looks wrong is logged as a warning.

    Args:
        name: a built-in dataset (`hfseg.data.DATASETS`), `coco`, `folder`, a Hub id, a local
            folder in the Hub's format or from `save_to_disk`; or a dataset in memory: a
            `DatasetDict`, a `Dataset`, or an argument of `in_memory.from_torch`.
        source: the data folder, or another Hub id for a built-in dataset (`--dataset_path`).
        split: only this split (still inside a `DatasetDict`).
        labels: names, for a dataset in memory or on the Hub whose masks hold ids: a `LabelSet`
            (names and colors), a list in id order, or a dictionary by mask value.
        label_mode: which set of classes to use, where a dataset offers a choice.
        label_map: raw mask value -> class name, id or `ignore`, as a dictionary, as strings such
            as `255=road`, or as one string of several; other values keep their meaning.
        train_val_test_split: fractions, for data without splits of its own.
        split_seed: seed of that split.
        split_by: `time` or `group`, instead of at random.
        id2label: a file with class names.
        image_column, label_column, dataset_config: of a Hub dataset, if they can't be inferred.
        streaming: don't download a Hub dataset: its splits become `IterableDataset`s.
        on_bad_sample: `stop`, or `skip` and log what was left out.
        preprocessing_num_workers: processes that read the data the first time, after which it is
            cached; None: one per core if there are many samples.

    Returns:
        A `datasets.DatasetDict` with `train`, `validation` and perhaps `test`, and the `LabelSet`.

    Raises:
        UserError: an unknown name, a missing folder, samples that can't be read, masks that are
            almost certainly misread (see `first_aid`).
    """
    if on_bad_sample not in ("stop", "skip"):
        raise UserError(f"--on_bad_sample {on_bad_sample!r}: choose stop or skip")
    options = LoadOptions(
        label_mode, label_map, train_val_test_split, split_seed, split_by, id2label,
        image_column, label_column, dataset_config, streaming, on_bad_sample,
        preprocessing_num_workers,
    )  # fmt: skip
    loaded = read_dataset(name, source, split, options, labels)
    for warning in loaded.warnings:
        logger.warning("%s", warning)
    return loaded.data, loaded.labels


def read_dataset(
    name: object,
    source: str | None = None,
    split: str | None = None,
    options: LoadOptions | None = None,
    labels: LabelNames | None = None,
) -> LoadedDataset:
    """`load_dataset` with its findings returned.

    Raises:
        UserError: as `load_dataset`; with `on_bad_sample="report"` only where nothing can be read.
    """
    options = options or LoadOptions()
    on_bad_sample = options.on_bad_sample
    plan = SplitPlan(
        parse_fractions(options.train_val_test_split), options.split_seed, options.split_by
    )
    opened = open_dataset(name, source, labels, options)
    if opened.in_time:
        plan = replace(plan, by=plan.by or "time")
    if options.streaming:
        assert isinstance(opened, HubDataset)  # `open_dataset` rejects others
        return _streamed(opened, split, on_bad_sample)
    findings = first_aid.check_sample(opened)
    _stop(findings, on_bad_sample)
    workers = options.preprocessing_num_workers
    built = {part: opened.build(part, workers) for part in _needed(split, opened.splits)}
    if orientation.is_open(built):  # then the complete dataset decides
        rest = (part for part in opened.splits if part not in built)
        built |= {part: opened.build(part, workers) for part in rest}
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
    names = {part: sample_names(rows, part) for part, rows in data.items()}
    divided = any(part != origin for part, (origin, _) in division.items())
    by = plan.by or "random" if divided else None
    warnings += first_aid.warnings(facts, opened.labels, names, by)
    if split is not None:
        title = str(name) if isinstance(name, str | Path) else "the dataset"
        data = {split: data[known_split(split, data, title)]}
    logger.info("%s", first_aid.class_list(opened))
    return LoadedDataset(_without_facts(data), opened.labels, problems, findings, warnings)


def _streamed(opened: HubDataset, split: str | None, on_bad_sample: str) -> LoadedDataset:
    """The splits as streams."""
    import datasets

    from hfseg.data.streaming import streamed

    if "train" not in opened.splits or "validation" not in opened.splits:
        raise UserError(
            f"{opened.name}: --streaming needs a train and a validation split; it has "
            f"{', '.join(opened.splits)}"
        )
    if len(opened.labels) < 2:
        raise UserError(first_aid.only_class(opened.labels))
    parts = opened.splits if split is None else [known_split(split, opened.splits, opened.name)]
    skip = on_bad_sample != "stop"
    data = {part: streamed(opened, part, skip) for part in parts}
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
    ways_out = "`hfseg inspect` lists all problems, --on_bad_sample skip uses the rest"
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
        raise UserError(f"no sample of the {what} is usable; the first problem: {problems[0]}")
    return good


def known_split(split: str, splits: Iterable[str], name: str) -> str:
    """The split, if it is one of `splits`; else a `UserError`."""
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split


def _needed(split: str | None, splits: Mapping[str, object]) -> list[str]:
    """The parts to build for one split: only that part if nothing has to be divided."""
    return (
        [split]
        if split is not None and split in splits and "validation" in splits
        else list(splits)
    )
