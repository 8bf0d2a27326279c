"""Contenders measured in turn against a named baseline, and how the result is reported."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: in the report.
        run: does the work once and returns the seconds that count.
    """

    name: str
    run: Callable[[], float]

    @classmethod
    def timed(cls, name: str, work: Callable[[], object]) -> "Contender":
        """A contender whose every second counts."""

        def run() -> float:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started

        return cls(name, run)


@dataclass(frozen=True)
class Comparison:
    """What was measured: the seconds of each contender, round by round.

    Attributes:
        title: the work.
        unit: what the work consists of, such as `images`.
        amount: how many of them one run does.
        seconds: contender -> seconds of each round.
        baseline: the contender that the others are compared with.
        facts: whatever else was found, such as the fraction of pixels that agree.
    """

    title: str
    unit: str
    amount: float
    seconds: Mapping[str, Sequence[float]]
    baseline: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Seconds of a run."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str) -> float:
        """How many times as fast as the baseline, by the medians."""
        return self.median(self.baseline) / self.median(name)

    def ratios(self, name: str) -> list[float]:
        """The same in each round."""
        pairs = zip(self.seconds[self.baseline], self.seconds[name], strict=True)
        return [baseline / seconds for baseline, seconds in pairs]

    def against(self, baseline: str) -> "Comparison":
        """The same measurement with another baseline."""
        return replace(self, baseline=baseline)

    def table(self) -> str:
        """Lines for the terminal."""
        width = max(map(len, self.seconds))
        lines = [self.title]
        for name in self.seconds:
            seconds = self.median(name)
            line = f"  {name:{width}}  {_duration(seconds / self.amount):>10} per {self.unit}"
            if name == self.baseline:
                line += "  (baseline)"
            else:
                low, high = min(self.ratios(name)), max(self.ratios(name))
                line += f"  {self.ratio(name):.2f} x  ({low:.2f} to {high:.2f} by round)"
            lines.append(line)
        lines += [f"  {name}: {value}" for name, value in self.facts.items()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what the table says, and each round."""
        contenders = {
            name: {
                "seconds": list(self.seconds[name]),
                "median_seconds": self.median(name),
                "ratio": self.ratio(name),
            }
            for name in self.seconds
        }
        return {
            "title": self.title, "unit": self.unit, "amount": self.amount,
            "baseline": self.baseline, "contenders": contenders, **self.facts,
        }  # fmt: skip


def compare(
    title: str,
    contenders: Sequence[Contender],
    *,
    unit: str,
    amount: float,
    repeats: int,
    warm_up: bool = True,
) -> Comparison:
    """Run the contenders in turn, in rounds, so that a machine that slows down slows down all.

    Every other round goes backwards. The first contender is the baseline.

    Args:
        amount: units of work in one run.
        repeats: rounds that count.
        warm_up: run each contender once beforehand.
    """
    if warm_up:
        for contender in contenders:
            contender.run()
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for round_ in range(repeats):
        for contender in contenders if round_ % 2 == 0 else reversed(contenders):
            seconds[contender.name].append(contender.run())
    return Comparison(title, unit, amount, seconds, baseline=contenders[0].name)


def report(comparisons: Sequence[Comparison]) -> None:
    """Print the tables, and as the last line everything as JSON."""
    for comparison in comparisons:
        print(comparison.table(), end="\n\n")
    found = {"machine": machine(), "comparisons": [each.as_dict() for each in comparisons]}
    print(json.dumps(found), flush=True)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import torch

    from hfseg.training.precision import detect_hardware

    hardware = detect_hardware()
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": platform.machine(), "cores": os.cpu_count(), "accelerator": accelerator,
        "computes_bf16": hardware.bf16, "threads": torch.get_num_threads(),
        "torch": torch.__version__, "python": platform.python_version(),
    }  # fmt: skip


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
