"""`--label_map`: the meaning of raw mask values that are not class ids."""

import shlex
from collections.abc import Iterable, Mapping

from hfseg.data.masks import MaskDecoder
from hfseg.errors import UserError
from hfseg.labels import LabelSet

LabelMap = Mapping[int, str | int] | Iterable[str] | str
"""Raw value -> class name, id or `ignore`; strings such as `255=road`; or all in one string."""

Values = tuple[tuple[int, str], ...]
IGNORE = "ignore"
_LARGEST_VALUE = 65535


def parse_label_map(label_map: LabelMap) -> Values:
    """Pairs of raw value and meaning.

    Raises:
        UserError: an entry that is not VALUE=CLASS, or a value given twice.
    """
    if isinstance(label_map, str):
        try:
            label_map = shlex.split(label_map)
        except ValueError as error:  # an open quote
            raise UserError(f"--label_map {label_map}: {error}") from error
    if isinstance(label_map, Mapping):
        label_map = [f"{value}={name}" for value, name in label_map.items()]
    values: dict[int, str] = {}
    for entry in label_map:
        text, _, name = str(entry).partition("=")
        if not text.strip().isdecimal() or int(text) > _LARGEST_VALUE or not name.strip():
            raise UserError(f"--label_map {entry}: expected VALUE=CLASS, such as 255=road")
        if values.setdefault(int(text), name.strip()) != name.strip():
            raise UserError(
                f"--label_map: {text} is both {values[int(text)]!r} and {name!r}; give it once"
            )
    return tuple(values.items())


def apply_label_map(decoder: MaskDecoder, labels: LabelSet, values: Values) -> MaskDecoder:
    """The decoder with new meanings for these values; all others keep theirs.

    Raises:
        UserError: a class that is not in `labels`.
    """
    ids = dict(decoder.ids) or {index: index for index in range(len(labels))}
    for value, name in values:
        if name.lower() == IGNORE:
            ids[value] = labels.ignore_index
        elif name in labels.label2id:
            ids[value] = labels.label2id[name]
        elif name.isdecimal() and int(name) < len(labels):
            ids[value] = int(name)
        else:
            raise UserError(
                f"--label_map {value}={name}: {name!r} is not one of the classes "
                f"{', '.join(labels.names)}; add it to their list first"
            )
    return decoder.with_ids(ids)


def named_by_map(found: Iterable[int], values: Values) -> dict[int, str]:
    """Names of the raw values `found` in masks without a table of classes."""
    named = dict(values)
    return {value: named.get(value, f"class {value}") for value in sorted({*found, *named})}
