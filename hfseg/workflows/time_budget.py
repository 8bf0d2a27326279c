"""Turns `--time_budget` into the steps of a run: what `hfseg.training.time_budget` needs of it."""

import copy
import dataclasses
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from transformers import IntervalStrategy, PreTrainedModel, set_seed
from transformers.trainer_utils import SaveStrategy

from hfseg.config.resolve import Arguments
from hfseg.labels import LabelSet
from hfseg.training.arguments import with_values
from hfseg.training.checkpoints import STATE_FILE
from hfseg.training.clock import TrainingClock
from hfseg.training.losses import SegmentationLoss
from hfseg.training.preemption import SaveOnSignal
from hfseg.training.progress import ConcisePrinter, ConciseProgress
from hfseg.training.time_budget import MEASURED, WARM_UP, measure, parse_duration, plan, shown
from hfseg.workflows.assemble import make_trainer

logger = logging.getLogger("hfseg")


def fit_time_budget(
    arguments: Arguments,
    parts: tuple[PreTrainedModel, Any, datasets.DatasetDict, LabelSet, SegmentationLoss],
    checkpoint: Path | None,
    started: float,
    clock: Callable[[], float] = time.monotonic,
) -> Arguments:
    """The same run with the number of steps, warm-up and evaluation interval that fit.

    Args:
        arguments: with a `time_budget`.
        parts: what `make_trainer` takes besides: model, processor, data, labels and loss. The
            model is copied.
        checkpoint: that the run is resumed from; its time is counted.
        started: when this leg began, by `clock`.

    Raises:
        UserError: not even one step fits.
    """
    training = arguments.training
    budget = parse_duration(str(training.time_budget))
    model, processor, data, labels, loss = parts
    done, before, eval_steps = _of_checkpoint(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        trial = with_values(
            training, output_dir=folder, max_steps=WARM_UP + MEASURED,
            eval_strategy=IntervalStrategy.NO, save_strategy=SaveStrategy.NO,
            logging_strategy=IntervalStrategy.NO, load_best_model_at_end=False,
            early_stopping_patience=None, report_to=[], disable_tqdm=True,
        )  # fmt: skip
        trainer = make_trainer(
            dataclasses.replace(arguments, training=trial),
            copy.deepcopy(model), processor, data, labels, loss,
        )  # fmt: skip
        for callback in (SaveOnSignal, ConcisePrinter, ConciseProgress):
            trainer.remove_callback(callback)
        costs = measure(trainer, budget, len(data["test"]) if "test" in data else 0, clock)
        del trainer
    set_seed(training.seed)
    found = plan(budget - before - (clock() - started), costs, done, eval_steps)
    warm_up = training.warmup_steps
    if warm_up >= 1:
        warm_up = min(warm_up, found.max_steps // 10)
    once = found.eval_steps >= found.max_steps
    how_often = "at the end" if once else f"every {found.eval_steps}"
    logger.info(
        "time budget %s: a step takes %s, an evaluation with its checkpoint %s, the end %s: "
        "%d steps, evaluated %s, warm-up %s",
        shown(budget), shown(costs.step), shown(costs.evaluation), shown(costs.end),
        found.max_steps, how_often, f"{warm_up:g}",
    )  # fmt: skip
    steps = {"eval_steps": found.eval_steps, "save_steps": found.eval_steps}
    fitted = with_values(
        training, max_steps=found.max_steps, warmup_steps=warm_up, **steps,
        eval_strategy=IntervalStrategy.STEPS, save_strategy=SaveStrategy.STEPS,
    )  # fmt: skip
    return dataclasses.replace(arguments, training=fitted)


def _of_checkpoint(checkpoint: Path | None) -> tuple[int, float, int | None]:
    """Steps and seconds of the legs before, and their evaluation interval."""
    if checkpoint is None:
        return 0, 0.0, None
    state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    clock = state["stateful_callbacks"].get(TrainingClock.__name__, {})
    return state["global_step"], clock.get("args", {}).get("seconds", 0.0), state["eval_steps"]
