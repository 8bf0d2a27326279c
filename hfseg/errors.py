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


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, the last one first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
