"""Work whose result is one for all items, such as scores: shared, and continued after a kill.

Each process adds up the results of its items, and saves them every half minute into a file of
their own in `OUTPUT/unfinished`. When all items are in such files, these are merged.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from hfseg.processes import Processes

FOLDER = "unfinished"
SECONDS = 30.0
"""Between two saves; what a kill can cost."""
_SETTINGS = "settings.json"


class Mergeable(Protocol):
    """The result of some items. Merging gives the same in any order."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, and containers of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def merge(self, other: Self) -> None: ...


_Result = TypeVar("_Result", bound=Mergeable)


class SharedWork(Generic[_Result]):
    """The items 0..count-1, shared by all processes.

    Args:
        count: number of items.
        new: makes an empty result.
        processes: None: this one alone, and nothing is saved.
        output_dir: of the command.
        settings: what the result depends on; results saved under others are removed.

    Attributes:
        waiting: the items that are left for this process.
        part: where this process adds the result of an item, followed by `done`.
    """

    def __init__(
        self,
        count: int,
        new: Callable[[], _Result],
        processes: Processes | None = None,
        output_dir: str | Path = ".",
        settings: object = None,
    ) -> None:
        self.new = new
        self.part = new()
        self.processes = processes
        self.folder = Path(output_dir, FOLDER)
        self._items: list[int] = []
        self._saved = time.monotonic()
        if processes is None:
            self.waiting = list(range(count))
            return

        def left() -> list[int]:
            self._open(json.dumps(settings, sort_keys=True, default=str))
            finished = {item for part in self._parts() for item in part["items"]}
            return [item for item in range(count) if item not in finished]

        waiting = processes.agreed(left)
        if processes.is_first and 0 < len(waiting) < count:
            print(f"{count - len(waiting)} of {count} are done already", flush=True)
        self.waiting = list(processes.share(waiting))

    def _open(self, settings: str) -> None:
        file = self.folder / _SETTINGS
        if not file.is_file() or file.read_text(encoding="utf-8") != settings:
            self.remove()
            self.folder.mkdir(parents=True)
            file.write_text(settings, encoding="utf-8")

    def _parts(self) -> list[dict[str, Any]]:
        import torch

        return [torch.load(file, weights_only=True) for file in sorted(self.folder.glob("*.pt"))]

    def done(self, item: int) -> None:
        """`part` now includes this item."""
        self._items.append(item)
        if self.processes is not None and time.monotonic() - self._saved > SECONDS:
            self._save()

    def _save(self) -> None:
        import torch

        name = f"{uuid.uuid4().hex}.pt"
        unfinished = self.folder / f"{name}.part"
        torch.save({"items": self._items, "result": self.part.state_dict()}, unfinished)
        os.replace(unfinished, self.folder / name)
        self.part, self._items, self._saved = self.new(), [], time.monotonic()

    def merged(self) -> _Result:
        """The result of all items, on every process."""
        if self.processes is None:
            return self.part
        if self._items:
            self._save()
        self.processes.wait()
        result = self.new()
        for part in self._parts():
            other = self.new()
            other.load_state_dict(part["result"])
            result.merge(other)
        self.processes.wait()  # all have read the files, which may be removed now
        return result

    def remove(self) -> None:
        """Forget the parts; called by the first process when the output is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
