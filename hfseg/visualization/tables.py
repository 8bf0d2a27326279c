"""Tables as text: for the terminal, and in Markdown."""

import re
from collections.abc import Sequence


def terminal_table(
    rows: Sequence[Sequence[str]], text_columns: int = 1, summary_rows: int = 0
) -> str:
    """Aligned columns with a rule below the heading.

    Args:
        rows: the heading first.
        text_columns: how many columns are left-aligned; the numbers after them are right-aligned.
        summary_rows: how many rows at the end are separated by another rule.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    heading, *lines = (
        "  ".join(
            cell.ljust(width) if place < text_columns else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    rule = "-" * len(heading)
    if summary_rows:
        lines.insert(-summary_rows, rule)
    return "\n".join([heading, rule, *lines])


def table_cell(text: object) -> str:
    """Text that breaks no Markdown table and is neither HTML, a link, an image nor emphasis."""
    line = " ".join(str(text).split()).replace("<", "&lt;")
    return re.sub(r"([\\|\[\]`])", r"\\\1", line)


def markdown_table(rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """The same in Markdown; cells are escaped by `table_cell`."""
    heading, *lines = ("| " + " | ".join(map(table_cell, row)) + " |" for row in rows)
    rule = "|" + "---|" * text_columns + "---:|" * (len(rows[0]) - text_columns)
    return "\n".join([heading, rule, *lines])
