"""Progress of long work: a bar in a terminal or notebook, single lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
DELAY = 2.0
"""Seconds before anything is shown: short work needs no bar."""
LINE_EVERY = 30.0
"""Seconds between two lines without a terminal."""


class Progress:
    """Counts finished items; shown after two seconds.

    Args:
        total: number of items, None if unknown.
        what: in front of the count, such as "reading train".
        unit: what is counted, in the plural.
        shown: False for processes that should be silent.
    """

    def __init__(
        self, total: int | None, what: str, unit: str = "images", shown: bool = True
    ) -> None:
        self.total, self.what, self.unit, self.shown = total, what, unit, shown
        self.count = 0
        self._started = self._printed = time.monotonic()
        self._bar: tqdm | None = None
        if shown and (sys.stderr.isatty() or _in_notebook()):
            self._bar = tqdm(total=total, desc=what, unit=f" {unit}", leave=False, delay=DELAY)

    def update(self, count: int = 1) -> None:
        """Count more items."""
        self.count += count
        if self._bar is not None:
            self._bar.update(count)
        elif self.shown:
            self._line()

    def _line(self) -> None:
        now = time.monotonic()
        first = self._printed == self._started
        if now - self._printed < (DELAY if first else LINE_EVERY) or self.count == self.total:
            return
        self._printed = now
        rate = self.count / (now - self._started)
        of = f" of {self.total}" if self.total is not None else ""
        left = f", {(self.total - self.count) / rate:.0f} s left" if self.total else ""
        print(f"{self.what}: {self.count}{of} {self.unit}{left}", file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def track(
    items: Iterable[Item], what: str, total: int | None = None, unit: str = "images"
) -> Iterator[Item]:
    """The items, with their progress shown."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(total, what, unit) as progress:
        for item in items:
            yield item
            progress.update()


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
