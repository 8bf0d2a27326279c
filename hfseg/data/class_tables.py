"""Files that name the classes of a data set: `label_colors.txt`, `classes.csv`, `labels.json`."""

import csv
import json
from pathlib import Path

from hfseg.errors import UserError
from hfseg.labels import Color, LabelSet


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
    seen: dict[Color, str] = {}
    for name, color in entries:
        if color in seen:
            raise UserError(
                f"{path}: {seen[color]!r} and {name!r} have one colour {color}; "
                "a mask can't tell them apart, so give each its own"
            )
        seen[color] = name
    return entries


def read_id2label(path: Path) -> LabelSet:
    """The Hub's customary `id2label.json`: {"0": "wall", ...}."""
    try:
        table = {int(key): str(name) for key, name in json.loads(_text(path)).items()}
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: expected JSON such as {{'0': 'road', '1': 'car'}}") from error
    if sorted(table) != list(range(len(table))):
        raise UserError(f"{path}: ids must run from 0 to {len(table) - 1} without a gap")
    return LabelSet(tuple(table[index] for index in range(len(table))))


def read_names(path: Path) -> LabelSet:
    """`classes.txt`: one name a line, in id order."""
    names = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path}: no class names in it; expected one a line")
    return LabelSet(tuple(names))


def read_classes_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a `classes.csv`, header names lower-cased and stripped."""
    rows = [
        {str(k).strip().lower(): str(v).strip() for k, v in row.items()}
        for row in csv.DictReader(_text(path).splitlines())
    ]
    if not rows:
        raise UserError(f"{path}: no classes in it; expected a header line and one class a line")
    return rows


def read_label_set(path: Path) -> LabelSet:
    """Class names from `labels.json`, `id2label.json` or `classes.txt`, told apart by content."""
    if path.suffix == ".json":
        content = _json(path)
        if "names" in content:
            return LabelSet.from_dict(content)
        return read_id2label(path)
    return read_names(path)


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
