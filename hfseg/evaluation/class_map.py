"""Maps model classes to dataset classes."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from hfseg.errors import UNREADABLE, UserError
from hfseg.labels import LabelSet, plain_name

logger = logging.getLogger("hfseg")


def prediction_table(
    model: LabelSet, data: LabelSet, class_map: str | Path | None = None
) -> np.ndarray:
    """(256,) int64: predicted id -> id in the dataset, or `len(data)` if it has no such class.

    Without a file, classes are matched by name (case, spaces, hyphens and underscores are
    ignored), and every class of the dataset must have a match. If the model or the dataset has no
    class names, classes are matched by id, for which their numbers must be equal.

    Args:
        class_map: a JSON or YAML file of `model's class: dataset's class`, null for none. Classes
            that are not in the file are matched by name; classes of the dataset without a match
            are scored as missed.

    Raises:
        UserError: classes without a match, or unknown names.
    """
    table = np.full(256, len(data), dtype=np.int64)
    known = {plain_name(name): index for index, name in enumerate(data.names)}
    requested = _read(class_map, model, data) if class_map is not None else {}
    if not requested and (model.unnamed or data.unnamed) and len(model) == len(data):
        table[: len(data)] = np.arange(len(data))
        if not model.unnamed:
            meaning = ", ".join(f"{index} {name}" for index, name in enumerate(model.names))
            logger.warning("the dataset's ids are read as those of the model: %s", meaning)
        return table
    for index, name in enumerate(model.names):
        target = requested.get(name, name)
        if target is not None:
            table[index] = known.get(plain_name(target), len(data))
    found = set(table.tolist())
    lost = [name for index, name in enumerate(data.names) if index not in found]
    if lost and class_map is None and data.unnamed:
        raise UserError(
            f"the dataset has no names for its {len(data)} classes, and the model has "
            f"{len(model)} ({_listed(model.names)}): name them with --id2label FILE, or labels= "
            "in Python, such as labels=run.labels if the ids are those of the run's model"
        )
    if lost and class_map is None:
        raise UserError(
            f"the dataset's class {_listed(lost)} has no match in the model, whose classes are "
            f"{_listed(model.names)}: give --class_map FILE with lines of `model's class: "
            "dataset's class`"
        )
    if len(lost) == len(data):
        raise UserError(
            f"--class_map {class_map}: it maps no model class to a dataset class; check the names"
        )
    return table


def _read(class_map: str | Path, model: LabelSet, data: LabelSet) -> dict[str, str | None]:
    path = Path(class_map)
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise UserError(f"--class_map {path}: no such file; check the path") from None
    except (OSError, *UNREADABLE) as error:
        raise UserError(
            f"--class_map {path}: not readable as JSON or YAML ({' '.join(str(error).split())})"
        ) from None
    if not isinstance(values, dict):
        raise UserError(f"--class_map {path}: expected lines of `model's class: dataset's class`")
    names = {plain_name(name): name for name in model.names}
    targets = {plain_name(name) for name in data.names}
    requested: dict[str, str | None] = {}
    for key, value in values.items():
        if plain_name(key) not in names:
            raise UserError(
                f"--class_map {path}: the model has no class {str(key)!r}; it has "
                f"{_listed(model.names)}"
            )
        if value is not None and plain_name(value) not in targets:
            raise UserError(
                f"--class_map {path}: the dataset has no class {str(value)!r}; it has "
                f"{_listed(data.names)}"
            )
        requested[names[plain_name(key)]] = None if value is None else str(value)
    return requested


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
