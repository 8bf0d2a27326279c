"""The exception for errors that a user can fix, and what lies behind the errors of libraries."""

import csv
from collections.abc import Iterator

import yaml

UNREADABLE = (ValueError, RecursionError, OverflowError, yaml.YAMLError, csv.Error)
"""What `json`, PyYAML and `csv` raise for text that is not theirs: brackets nested too deeply, the
month 13 of a date and numbers of thousands of digits included."""


class UserError(ValueError):
    """Invalid input. The message is one sentence: what is wrong, where, and what to do.

    Commands print it as `error: ...` without a traceback and exit with code 2 (`hfseg.cli.run`).
    """


def counted(number: int, noun: str) -> str:
    """`1 pixel`, `1,200 pixels`, `3 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, the last one first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
