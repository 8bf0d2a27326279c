"""`hfseg benchmark time-to-quality`: seconds of training until the model is as good as asked.

Both contenders start from the same weights, train with the same batches and learning rate, and are
evaluated by the same protocol, the one of `hfseg finetune`. Only training counts, not evaluation.
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from hfseg.evaluation.class_map import prediction_table
from hfseg.evaluation.scoring import score_split
from hfseg.inference.result import Options
from hfseg.inference.segmenter import Segmenter
from hfseg.metrics.table import TRAINING_METRICS
from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare
from hfseg.workflows.benchmark.train import EXAMPLE, OURS, TrainingJob


class StopAtQuality(TrainerCallback):
    """Evaluates every `every` steps, and ends the training at `target`.

    Args:
        evaluate: gives the mean IoU of the model as it is.
        clock: in seconds.

    Attributes:
        seconds: of training until the target was met; infinite if it was not.
        scores: step -> mean IoU.
    """

    def __init__(
        self,
        evaluate: Callable[[], float],
        target: float,
        every: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.evaluate, self.target, self.every, self.clock = evaluate, target, every, clock
        self.seconds = math.inf
        self.scores: dict[int, float] = {}
        self._trained = self._since = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._since = self.clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every:
            return
        self._trained += self.clock() - self._since
        score = self.scores[state.global_step] = self.evaluate()
        if score >= self.target:
            self.seconds = self._trained
            control.should_training_stop = True
        self._since = self.clock()


def benchmark_time_to_quality(
    options: Mapping[str, Any], *, target: float, every: int, repeats: int
) -> Comparison:
    """Seconds until the mean IoU of the validation split is `target`.

    Args:
        options: flags of `hfseg finetune`; its steps or epochs bound both.
        every: steps between evaluations.
    """
    scores: dict[str, list[dict[int, float]]] = {EXAMPLE: [], OURS: []}
    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(options, Path(folder))

        def run(name: str, make: Callable[[], Any]) -> float:
            trainer = make()
            stop = StopAtQuality(lambda: _mean_iou(job, trainer), target, every)
            trainer.add_callback(stop)
            trainer.train()
            scores[name].append(stop.scores)
            return stop.seconds

        contenders = [
            Contender(EXAMPLE, lambda: run(EXAMPLE, job.example)),
            Contender(OURS, lambda: run(OURS, job.ours)),
        ]
        found = compare(
            f"seconds to a mean IoU of {target}, hfseg in {job.precision}",
            contenders, unit="run", amount=1, repeats=repeats, warm_up=False,
        )  # fmt: skip
    return replace(found, facts={"mean IoU by step": scores})


def _mean_iou(job: TrainingJob, trainer: Any) -> float:
    """Of the validation split, as `hfseg evaluate` scores it."""
    segmenter = Segmenter(trainer.model, job.given[1])
    table = prediction_table(segmenter.labels, job.labels)
    scores = score_split(
        segmenter, job.data["validation"], job.labels, table, Options(), metrics=TRAINING_METRICS
    )
    trainer.model.train()
    return scores.compute()["mean_iou"]
