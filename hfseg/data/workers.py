"""How many processes read images."""

import os

_MOST = 4
"""More are seldom needed, and each takes the memory of a Python process."""


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(cores: int, processes: int = 1) -> int:
    """Data workers of each training process: one per core that the processes leave, at most 4.

    With a single core it is 0: the training process reads the images itself.

    Args:
        cores: of the machine.
        processes: training processes on it.
    """
    return max(0, min(_MOST, cores // processes - 1))
