"""How many processes read images."""

import multiprocessing
import os

_MOST = 4
"""More are seldom needed, and each takes the memory of a Python process."""
_MOST_READING = 16
"""While a dataset is read for the first time; one process writes what they read."""
_WORTH_IT = 256
"""Samples that take longer to read than a worker to start."""


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


def reading_workers(samples: int, requested: int | None = None) -> int:
    """Processes that read a dataset for the first time; 0: none but this one.

    Without a request there are none where processes don't fork: a script would need the guard
    `if __name__ == "__main__"` to call `load_dataset`.

    Args:
        samples: how many there are to read.
        requested: `--preprocessing_num_workers`.
    """
    if multiprocessing.current_process().daemon:  # it may have no children
        return 0
    if requested is not None:
        return min(requested, samples)
    start = multiprocessing.get_start_method(allow_none=True)
    cores = usable_cores()
    if cores == 1 or (start or multiprocessing.get_all_start_methods()[0]) != "fork":
        return 0
    return min(cores, _MOST_READING, samples // _WORTH_IT)
