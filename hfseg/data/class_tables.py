"""Files that name the classes of a data set: `label_colors.txt`, `classes.csv`, `labels.json`."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

IGNORED_NAMES = ("void", "ignore", "ignored", "unlabelled", "unlabeled")
"""Names, in any case, of what is no class."""


def read_label_colors(path: Path) -> list[tuple[str, Color]]:
    """CamVid's `label_colors.txt`: lines of `R G B name`, split on any whitespace."""
    entries: list[tuple[str, Color]] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.split(maxsplit=3)
        if not words:
            continue
        try:
            red, green, blue = (int(word) for word in words[:3])
            entries.append((words[3].strip(), (red, green, blue)))
        except (ValueError, IndexError) as error:
            raise UserError(
                f"{path}, line {number}: expected `R G B name`, found {line.strip()!r}"
            ) from error
    if not entries:
        raise UserError(f"{path}: no classes in it; expected lines of `R G B name`")
    check_colors_differ(path, entries)
    return entries


def check_colors_differ(path: Path, entries: Iterable[tuple[str, Color]]) -> None:
    """A mask stored in colors can't tell two classes of one color apart.

    Raises:
        UserError: a color that occurs twice.
    """
    seen: dict[Color, str] = {}
    for name, color in entries:
        if color in seen:
            raise UserError(
                f"{path}: {seen[color]!r} and {name!r} have the same color {color}; "
                "a mask can't tell them apart, so give each its own"
            )
        seen[color] = name


def labels_by_value(names: dict[int, str]) -> tuple[LabelSet, dict[int, int]]:
    """Classes by the value that stands for them in a mask -> labels, and id by value.

    Ids follow the values without gaps; names such as "unlabeled" become the ignore index. The
    map is empty where every value is its own id.
    """
    values = [value for value in sorted(names) if names[value].lower() not in IGNORED_NAMES]
    if not values:
        raise UserError("every class is named as ignored; at least one must count")
    ids = {value: index for index, value in enumerate(values)}
    ids |= {value: IGNORE_INDEX for value in names if value not in ids}
    if all(value == label for value, label in ids.items()):
        ids = {}
    return LabelSet(tuple(names[value] for value in values)), ids


def read_id2label(path: Path) -> dict[int, str]:
    """The Hub's customary `id2label.json`: {"0": "wall", ...}."""
    try:
        return {int(key): str(name) for key, name in json.loads(_text(path)).items()}
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: expected JSON such as {{'0': 'road', '1': 'car'}}") from error


def read_names(path: Path) -> dict[int, str]:
    """`classes.txt`: one name a line, in id order; name by id."""
    names = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path}: no class names in it; expected one a line")
    return dict(enumerate(names))


def read_classes_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a `classes.csv`, header names lower-cased and stripped."""
    rows = [
        {str(k).strip().lower(): str(v).strip() for k, v in row.items()}
        for row in csv.DictReader(_text(path).splitlines())
    ]
    if not rows:
        raise UserError(f"{path}: no classes in it; expected a header line and one class a line")
    return rows


def read_label_table(path: Path) -> tuple[LabelSet, dict[int, int]]:
    """`labels.json`, `id2label.json` or `classes.txt` -> labels, and id by value (empty: equal)."""
    if path.suffix != ".json":
        return labels_by_value(read_names(path))
    content = _json(path)
    if "names" in content:
        return LabelSet.from_dict(content), {}
    return labels_by_value(read_id2label(path))


def _json(path: Path) -> dict:
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file") from error
