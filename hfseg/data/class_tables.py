"""Files that name the classes of a dataset: `label_colors.txt`, `classes.csv`, `labels.json`."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from hfseg.errors import UNREADABLE, UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

_LARGEST_VALUE = 65535
"""In a mask of 16 bits."""

IGNORED_NAMES = ("void", "ignore", "ignored", "unlabelled", "unlabeled")
"""Names, in any case, that mean "not a class"."""


def read_label_colors(path: Path) -> list[tuple[str, Color]]:
    """CamVid's `label_colors.txt`: lines of `R G B name`, or the name first.

    Raises:
        UserError: an invalid line, or a color that occurs twice.
    """
    entries: list[tuple[str, Color]] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        entry = _color_line(line)
        if entry is None:
            raise UserError(f"{path}, line {number}: expected `R G B name`, found {line.strip()!r}")
        entries.append(entry)
    if not entries:
        raise UserError(f"{path}: no classes in this file; expected lines of `R G B name`")
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
                "masks can't tell them apart, so give each its own"
            )
        seen[color] = name


Table = tuple[LabelSet, dict[int, int], tuple[str, ...]]
"""Labels, id by value (empty: a value is its own id), and the names that are ignored."""


def labels_by_value(names: dict[int, str]) -> Table:
    """Classes by their value in masks.

    Ids follow the values without gaps; names such as "unlabeled" become the ignore index.
    """
    values = [value for value in sorted(names) if names[value].lower() not in IGNORED_NAMES]
    if not values:
        raise UserError("every class name stands for ignored pixels; name at least one class")
    ids = {value: index for index, value in enumerate(values)}
    ignored = {value: IGNORE_INDEX for value in names if value not in ids}
    ids |= ignored
    if all(value == label for value, label in ids.items()):
        ids = {}
    labels = LabelSet(tuple(names[value] for value in values))
    return labels, ids, tuple(names[value] for value in ignored)


def read_id2label(path: Path) -> dict[int, str]:
    """`id2label.json`, common on the Hub: {"0": "wall", ...}."""
    try:
        names = {int(key): str(name) for key, name in json.loads(_text(path)).items()}
    except (*UNREADABLE, AttributeError) as error:
        raise UserError(f"{path}: expected JSON such as {{'0': 'road', '1': 'car'}}") from error
    outside = [value for value in names if not 0 <= value <= _LARGEST_VALUE]
    if outside:
        raise UserError(f"{path}: {outside[0]} is not a possible mask value; use 0 to 65535")
    return names


def read_names(path: Path) -> dict[int, str]:
    """`classes.txt`: one name per line, in id order; name by id."""
    names = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path}: no class names in this file; expected one per line")
    return dict(enumerate(names))


def holds_colors(path: Path) -> bool:
    """Whether each line of a text file is `R G B name` or `name R G B`, commas allowed."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    return bool(lines) and all(_color_line(line) is not None for line in lines)


def _color_line(line: str) -> tuple[str, Color] | None:
    """Name and color of a line, in either order."""
    words = line.replace(",", " ").replace(":", " ").split()
    for numbers, name in ((words[:3], words[3:]), (words[-3:], words[:-3])):
        if name and len(numbers) == 3 and all(n.isdecimal() and int(n) < 256 for n in numbers):
            red, green, blue = map(int, numbers)
            return " ".join(name), (red, green, blue)
    return None


def read_classes_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a `classes.csv`, header names lower-cased and stripped."""
    try:
        rows = [
            {str(k).strip().lower(): str(v).strip() for k, v in row.items()}
            for row in csv.DictReader(_text(path).splitlines())
        ]
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV table ({error}); fix the file") from error
    if not rows:
        raise UserError(
            f"{path}: no classes in this file; expected a header and one class per line"
        )
    return rows


def read_label_table(path: Path) -> Table:
    """`labels.json`, `id2label.json` or `classes.txt`."""
    if path.suffix != ".json":
        return labels_by_value(read_names(path))
    content = _json(path)
    if "names" in content:
        return _label_set(content, path), {}, ()
    return labels_by_value(read_id2label(path))


def _label_set(content: dict, path: Path) -> LabelSet:
    try:
        return LabelSet.from_dict(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"{path}: expected `names`, a list of strings, and `palette`, a list of [red, green, "
            "blue]; fix the file"
        ) from error


def _json(path: Path) -> dict:
    try:
        content = json.loads(_text(path))
    except UNREADABLE as error:
        raise UserError(f"{path}: not valid JSON ({error}); fix the file") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file; save it as UTF-8") from error
