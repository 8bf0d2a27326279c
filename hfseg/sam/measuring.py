"""Time and peak memory of the steps of a program."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch


class Meter:
    """Measures time and peak memory per named step.

    On a GPU this is the peak memory that torch allocated; on a CPU it is that of the process,
    which only Linux can measure per step.

    Args:
        device: the device of the work.

    Attributes:
        seconds: step -> sum over its runs.
        peaks: step -> bytes, the maximum over its runs; None if it can't be measured.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self.peaks: dict[str, int | None] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._start_peak()
        start = self._now()
        yield
        self.seconds[name] += self._now() - start
        peak = self._peak()
        self.peaks[name] = None if peak is None else max(peak, self.peaks.get(name) or 0)

    def peak_gib(self, names: tuple[str, ...]) -> float | None:
        """The maximum over these steps."""
        peaks = [self.peaks.get(name) for name in names]
        return None if None in peaks else max(peaks) / 2**30  # type: ignore[type-var,operator]

    def merge(self, other: "Meter") -> None:
        """Add what another process measured."""
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        for name, peak in other.peaks.items():
            self.peaks[name] = None if peak is None else max(peak, self.peaks.get(name) or 0)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _start_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    def _peak(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return None
        kilobytes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(kilobytes[0]) * 1024 if kilobytes else None
