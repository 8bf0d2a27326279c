"""Whose class is whose: from a model's ids to those of a data set."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hfseg.errors import UserError
from hfseg.labels import LabelSet, plain_name


def prediction_table(
    model: LabelSet, data: LabelSet, class_map: str | Path | None = None
) -> np.ndarray:
    """(256,) int64: predicted id -> id in the data set, or `len(data)` where it has no such class.

    Without a file, classes of equal names belong together (capitals, spaces, hyphens and
    underscores make no difference), and every class of the data must find one of the model's;
    a model with unnamed classes (`LABEL_0` ...) is matched by id if the numbers agree.

    Args:
        class_map: a JSON or YAML file of `model's name: data set's name`, null for none. Names
            it leaves out are matched as above; classes of the data that still find none are
            scored as missed.

    Raises:
        UserError: classes without a counterpart, or names that are not there.
    """
    table = np.full(256, len(data), dtype=np.int64)
    known = {plain_name(name): index for index, name in enumerate(data.names)}
    wishes = _read(class_map, model, data) if class_map is not None else {}
    if not wishes and model.unnamed and len(model) == len(data):
        table[: len(data)] = np.arange(len(data))
        return table
    for index, name in enumerate(model.names):
        target = wishes.get(name, name)
        if target is not None:
            table[index] = known.get(plain_name(target), len(data))
    found = set(table.tolist())
    lost = [name for index, name in enumerate(data.names) if index not in found]
    if lost and class_map is None:
        raise UserError(
            f"the model has no class named {_listed(lost)}, which the data set has (the model's "
            f"are {_listed(model.names)}): give --class_map FILE with lines of `model's name: "
            "data set's name`"
        )
    if len(lost) == len(data):
        raise UserError(f"--class_map {class_map}: no class of the model is one of the data set's")
    return table


def _read(class_map: str | Path, model: LabelSet, data: LabelSet) -> dict[str, str | None]:
    path = Path(class_map)
    try:
        text = path.read_text(encoding="utf-8")
        values: Any = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise UserError(f"--class_map {path}: no such file") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"--class_map {path}: not readable as JSON or YAML ({' '.join(str(error).split())})"
        ) from None
    if not isinstance(values, dict):
        raise UserError(f"--class_map {path}: expected lines of `model's name: data set's name`")
    names = {plain_name(name): name for name in model.names}
    targets = {plain_name(name) for name in data.names}
    wishes: dict[str, str | None] = {}
    for key, value in values.items():
        if plain_name(key) not in names:
            raise UserError(
                f"--class_map {path}: the model has no class {str(key)!r}, it has "
                f"{_listed(model.names)}"
            )
        if value is not None and plain_name(value) not in targets:
            raise UserError(
                f"--class_map {path}: the data set has no class {str(value)!r}, it has "
                f"{_listed(data.names)}"
            )
        wishes[names[plain_name(key)]] = None if value is None else str(value)
    return wishes


def _listed(names: Any, most: int = 6) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
