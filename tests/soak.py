"""What a process and its children use over hours, and whether it grows."""

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

QUANTITIES = {"memory": "MiB", "open files": "", "threads": "", "temporary files": ""}


class Usage:
    """Samples of memory (resident, MiB), open files, threads and temporary files.

    Args:
        pid: of the process; its children count too.
        temporary: the folder in which it makes its temporary files.
    """

    def __init__(self, pid: int, temporary: Path) -> None:
        self.process = psutil.Process(pid)
        self.temporary = temporary
        self.times: list[float] = []
        self.samples: list[tuple[float, ...]] = []

    def sample(self) -> None:
        memory = files = threads = 0.0
        for each in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory += each.memory_info().rss / 2**20
                files += each.num_fds()
                threads += each.num_threads()
        # unlike `rglob`, it does not mind folders that vanish meanwhile
        temporary = sum(len(folders) + len(names) for _, folders, names in os.walk(self.temporary))
        self.times.append(time.monotonic())
        self.samples.append((memory, files, threads, float(temporary)))

    def growth(self) -> dict[str, float]:
        """Of each quantity: the median of the last quarter minus that of the second.

        The first quarter fills caches and the pools of the allocator.
        """
        quarter = max(len(self.samples) // 4, 1)
        values = np.array(self.samples)
        before = np.median(values[quarter : 2 * quarter], axis=0)
        after = np.median(values[-quarter:], axis=0)
        return dict(zip(QUANTITIES, (after - before).tolist(), strict=True))

    def report(self, work: float, unit: str) -> str:
        """A line per quantity: where it is, and its slope.

        Args:
            work: done over all samples, in `unit`.
        """
        warm = len(self.samples) // 4
        values, times = np.array(self.samples)[warm:], np.array(self.times)
        done = (times[warm:] - times[0]) / (times[-1] - times[0]) * work
        lines = []
        for (name, of), column in zip(QUANTITIES.items(), values.T, strict=True):
            slope = np.polyfit(done, column, 1)[0]
            lines.append(f"{name}: {column[-1]:.0f} {of}, {slope:+.4f} {of} per {unit}")
        return "\n".join(lines)
