"""`--time_budget`: as many steps, and as many evaluations, as fit into a given time.

A few steps, evaluations and a checkpoint are measured before the training, with a trainer that is
thrown away. From them follow the number of steps, and so the learning-rate schedule, and the
evaluation interval. The numbers are fixed then: the run is one that could be repeated with them.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Subset
from transformers import TrainerCallback

from hfseg.errors import UserError

if TYPE_CHECKING:
    from hfseg.training.trainer import SegmentationTrainer

WARM_UP, MEASURED = 2, 6
"""Optimizer steps before the training; the first ones start workers and allocate memory."""

_MOST_EVALUATIONS = 10
_EVALUATION_SHARE = 0.2
"""Of the time, for evaluations and checkpoints during the training."""
_REPORT_SECONDS = 5.0
"""An allowance, not measured, for the figures and tables at the end."""
_WHOLE_SPLIT_SHARE = 0.02
"""Of the time, that measuring an evaluation of the whole split may take."""
_UNITS = {"h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> float:
    """Seconds of `30m`, `1h30m`, `90s` or `2h`.

    Raises:
        UserError: anything else, or no time at all.
    """
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", str(text).strip())
    seconds = 0.0
    if parts is not None:
        seconds = sum(
            int(count or 0) * unit
            for count, unit in zip(parts.groups(), _UNITS.values(), strict=True)
        )
    if not seconds:
        raise UserError(f"--time_budget {text}: give a time such as 30m, 1h30m or 90s")
    return float(seconds)


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine.

    Attributes:
        step: of an optimizer step.
        evaluation: of the validation split, with the checkpoint that follows.
        end: of everything after the last step: the scores of all splits, and the report.
    """

    step: float
    evaluation: float
    end: float


@dataclass(frozen=True)
class Plan:
    """What fits.

    Attributes:
        max_steps: optimizer steps in total, those of earlier legs included.
        eval_steps: steps between two evaluations; the last step is followed by one.
    """

    max_steps: int
    eval_steps: int


def plan(seconds: float, costs: Costs, done: int = 0, eval_steps: int | None = None) -> Plan:
    """The plan that uses `seconds` from now on.

    Args:
        done: steps of earlier legs.
        eval_steps: of the run that is resumed, which keeps it.

    Raises:
        UserError: there is no time for a single step.
    """
    left = seconds - costs.end
    if left < costs.evaluation + costs.step:
        if done:  # the time is used up: what is left is to measure the model
            return Plan(done, eval_steps or done)
        need = costs.end + costs.evaluation + costs.step
        raise UserError(
            f"--time_budget leaves {shown(max(seconds, 0))} for training, but one step and the "
            f"evaluations take {shown(need)} on this machine; give more time, or evaluate on fewer "
            "images (--max_eval_samples)"
        )
    if eval_steps is None:
        evaluations = min(_MOST_EVALUATIONS, int(_EVALUATION_SHARE * left / costs.evaluation))
        evaluations = max(1, evaluations)
        steps = (left - evaluations * costs.evaluation) / costs.step
        eval_steps = max(1, math.ceil(steps / evaluations))
    intervals, rest = divmod(left, eval_steps * costs.step + costs.evaluation)
    steps = int(intervals) * eval_steps + max(0, int((rest - costs.evaluation) / costs.step))
    return Plan(done + max(1, steps), eval_steps)


def measure(
    trainer: "SegmentationTrainer",
    budget: float,
    test_samples: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Costs:
    """Train `trainer` for a few steps, evaluate and save it. It is of no use afterwards.

    Args:
        trainer: with `max_steps` of `WARM_UP + MEASURED`, and an output folder of its own.
        budget: seconds; of a large validation split only a part is scored.
        test_samples: size of the test split.
        clock: in seconds.
    """
    ends = _StepEnds(clock)
    trainer.add_callback(ends)
    trainer.train()
    step = (ends.seconds[-1] - ends.seconds[WARM_UP - 1]) / (len(ends.seconds) - WARM_UP)
    per_sample = _seconds_per_sample(trainer, budget, clock)
    started = clock()
    trainer._save_checkpoint(trainer.model, trial=None)
    saving = clock() - started
    validation = len(trainer.eval_dataset)
    evaluation = validation * per_sample + saving
    if trainer.score_in_float32():  # as the run does at its end
        per_sample = _seconds_per_sample(trainer, budget, clock)
    end = (validation + test_samples) * per_sample + _REPORT_SECONDS
    return _slowest(trainer, Costs(step, evaluation, end))


class _StepEnds(TrainerCallback):
    """When each step ended."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.device.type != "cpu":
            torch.accelerator.synchronize()
        self.seconds.append(self.clock())


def _seconds_per_sample(
    trainer: "SegmentationTrainer", budget: float, clock: Callable[[], float]
) -> float:
    """Of an evaluation: of the whole split if it is short, or of a part of it."""
    whole = trainer.eval_dataset
    few = 2 * trainer.args.eval_batch_size * trainer.args.world_size
    for count in dict.fromkeys((min(few, len(whole)), len(whole))):
        started = clock()
        trainer.evaluate(Subset(whole, range(count)))
        seconds = clock() - started
        if seconds * len(whole) / count > _WHOLE_SPLIT_SHARE * budget:
            break
    return seconds / count


def _slowest(trainer: "SegmentationTrainer", costs: Costs) -> Costs:
    """Of all processes: they must agree on a plan."""
    values = torch.tensor(
        [[costs.step, costs.evaluation, costs.end]],
        dtype=torch.float32,
        device=trainer.args.device,
    )
    return Costs(*trainer.accelerator.gather(values).amax(0).tolist())


def shown(seconds: float) -> str:
    """`1:02:03`, or `12.3 s` below a minute."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
