"""What a run started from, noted in its folder and compared when it is resumed."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import datasets

from hfseg.config.resolve import Arguments
from hfseg.data.fingerprint import also_in, fingerprint, what_changed
from hfseg.data.rows import sample_names
from hfseg.disk import write_text
from hfseg.errors import UNREADABLE, UserError
from hfseg.labels import LabelSet
from hfseg.training.arguments import with_values
from hfseg.training.largest_batch import divisors

logger = logging.getLogger("hfseg")

START_FILE = "start.json"


def same_steps(arguments: Arguments) -> Arguments:
    """The options of a resumed run with as many images per step as in the processes before.

    With the same images in every step, the order of the data, the schedule and the number of steps
    stay as they were. Each process takes at most as many images at once as before.

    Raises:
        UserError: the processes can't share the images of a step evenly.
    """
    training = arguments.training
    before, now = _read(training.output_dir).get("processes"), training.world_size
    if before is None or before == now:
        return arguments
    size, accumulated = training.per_device_train_batch_size, training.gradient_accumulation_steps
    images = size * accumulated * before
    if images % now:
        possible = ", ".join(map(str, reversed(divisors(images, at_most=images))))
        raise UserError(
            f"the run in {training.output_dir} takes {images} images per step, which {now} "
            f"processes can't share evenly; resume it with one of these --num_processes: {possible}"
        )
    per_process = images // now
    fitting = divisors(per_process, at_most=size)[0]
    logger.warning(
        "the run had %d processes, now %d: %d images per step stay, as %d x %d in each process; "
        "dropout will differ",
        before, now, images, fitting, per_process // fitting,
    )  # fmt: skip
    changed = with_values(
        training,
        per_device_train_batch_size=fitting,
        gradient_accumulation_steps=per_process // fitting,
    )
    return dataclasses.replace(arguments, training=changed)


def run_start(
    folder: str | Path,
    data: datasets.DatasetDict,
    labels: LabelSet,
    processes: int,
    resumed: bool,
) -> dict[str, Any]:
    """What to note of a run with this data; of a resumed one what was noted, if it still holds.

    Raises:
        UserError: the data has changed since the run started.
    """
    now, before = fingerprint(data, labels), _read(folder) if resumed else {}
    changed = what_changed(before["data"], now) if before else None
    if changed is not None:
        raise UserError(
            f"the data of the run in {folder} has changed since it started: {changed}; restore "
            "the data to resume the run, or start a new one with another --output_dir"
        )
    return before or {"processes": processes, "data": now}


def write_start(folder: str | Path, start: dict[str, Any]) -> None:
    text = json.dumps(start, indent=1, ensure_ascii=False) + "\n"
    write_text(Path(folder, START_FILE), text)


def warn_if_trained_on(model: str | Path, rows: datasets.Dataset, split: str) -> None:
    """Warn if a run was trained on images that its model is measured on.

    That happens when images were added to data that hfseg divides, or with another `--split_seed`.

    Args:
        model: the folder of the run, or of one of its checkpoints.
        rows: of `split`.
    """
    folder = Path(model)
    if folder.name.startswith("checkpoint-"):
        folder = folder.parent
    try:
        before = _read(folder)
    except UserError:  # damaged, which matters only to a resumed run
        return
    trained = before.get("data", {}).get("splits", {}).get("train")
    if split == "train" or not trained:
        return
    names = sample_names(rows, split)
    if found := also_in(trained, rows, names):
        known_in_part = trained["samples"] > len(trained["read"])
        logger.warning(
            "%s%d of the %d images of %s (such as %s) were used to train %s, so its results on "
            "them are too good; if the data was divided differently then, restore that division "
            "with the folders train/, validation/ and test/",
            "at least " if known_in_part else "", len(found), len(names), split, found[0], model,
        )  # fmt: skip


def _read(folder: str | Path) -> dict[str, Any]:
    file = Path(folder, START_FILE)
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {"processes": int(found["processes"]), "data": dict(found["data"])}
    except (*UNREADABLE, TypeError, KeyError):
        raise UserError(
            f"{file} is damaged; delete it to resume the run without checking its data"
        ) from None
