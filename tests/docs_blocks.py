"""The commands and code blocks of README.md, docs/*.md and the notebooks.

The language of a fence says what a block is: `bash` and `python` blocks are run, a fence without a
language holds output or a layout. A line that ends in one of `NOT_RUN`, as a comment, is not run.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
NOTEBOOKS = tuple(sorted((REPOSITORY / "notebooks").glob("*.ipynb")))
NOT_RUN = ("needs the Hub", "needs that address", "needs GPUs", "until Ctrl-C")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(hfseg [a-z][^`]*)`")


@dataclass(frozen=True)
class Command:
    """A command of a page, in words.

    Attributes:
        page: the file.
        words: without the comment.
        is_run: whether it can be run here.
    """

    page: Path
    words: tuple[str, ...]
    is_run: bool

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def blocks(page: Path, language: str) -> list[str]:
    """The text of each block in this language; blocks without a language have the language ''."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for name, text in found if name == language]


def languages(page: Path) -> set[str]:
    return {name for name, _ in _FENCE.findall(page.read_text(encoding="utf-8"))}


def commands(page: Path) -> Iterator[Command]:
    """The commands of the page's `bash` blocks."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield Command(page, tuple(words), not line.rstrip().endswith(NOT_RUN))


def commands_in_text(page: Path) -> Iterator[Command]:
    """The commands between single backticks, which are not run."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for command in _INLINE.findall(text):
        yield Command(page, tuple(shlex.split(command.replace("\\|", "|"))), False)


def commands_in_notebook(notebook: Path) -> Iterator[Command]:
    """The lines of a notebook that start with `!hfseg`."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for line in "".join(cell["source"]).replace("\\\n", " ").splitlines():
            if line.startswith("!hfseg"):
                words = [word for word in shlex.split(line[1:]) if word != "{CLASS_MAP}"]
                yield Command(notebook, tuple(words), False)


def program(page: Path) -> str:
    """The `python` blocks of the page as one program, without the lines that are not run."""
    lines = "\n".join(blocks(page, "python")).splitlines()
    return "\n".join(line for line in lines if not line.rstrip().endswith(NOT_RUN))
