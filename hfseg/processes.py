"""The processes of a launch, and how they share the items of a command.

All commands follow one rule. What is finished is a file that appears complete or not at all, and
each process takes every n-th of the items that have none. So every item is done once, by any
number of processes, and a command that was stopped continues with another number.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

_Item = TypeVar("_Item")

_TIMEOUT = timedelta(days=7)
"""Processes may wait long for one with a large image; the launcher notices when one ends."""


class Processes:
    """The processes of one `accelerate launch`; without a launch, this one alone.

    Attributes:
        index: of this process, from 0.
        count: of all processes, on all machines.
        device: of this process.
    """

    def __init__(self) -> None:
        import torch
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        # without `cpu=True` every process of a launch on CPUs would consider itself the only one
        on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
        self._state: Any = PartialState(cpu=on_cpu, timeout=_TIMEOUT)
        self.index: int = self._state.process_index
        self.count: int = self._state.num_processes
        self.device: torch.device = self._state.device

    @property
    def is_first(self) -> bool:
        """Whether this process prints and writes what all have in common."""
        return self.index == 0

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """This process's part of the items, which all processes list alike."""
        return items[self.index :: self.count]

    def first_before_others(self) -> AbstractContextManager[None]:
        """The first process goes through the block before the others do."""
        return self._state.main_process_first()

    def agreed(self, find: Callable[[], _Item]) -> _Item:
        """What the first process finds, once all processes have come this far."""
        from accelerate.utils import broadcast_object_list

        self._state.wait_for_everyone()
        found = [find() if self.is_first else None]
        broadcast_object_list(found)
        return found[0]  # type: ignore[return-value]

    def gathered(self, value: _Item) -> list[_Item]:
        """The values of all processes, in their order."""
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Until all processes have come this far."""
        self._state.wait_for_everyone()
