"""The training time of a run, across interruptions."""

import time

from transformers import TrainerCallback, TrainerState
from transformers.trainer_callback import ExportableState


class TrainingClock(TrainerCallback, ExportableState):
    """Seconds of training, saved with every checkpoint and continued from it.

    Work after the last checkpoint of a killed run is not counted, since it is repeated.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._started: float | None = None

    @property
    def elapsed(self) -> float:
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self.seconds + running

    def state(self) -> dict[str, dict[str, float]]:
        return {"args": {"seconds": self.elapsed}, "attributes": {}}

    def on_train_begin(
        self, args: object, state: TrainerState, *_: object, **kwargs: object
    ) -> None:
        if state.global_step == 0:
            self.seconds = 0.0
        self._started = time.monotonic()

    def on_train_end(self, *_: object, **kwargs: object) -> None:
        self.seconds, self._started = self.elapsed, None
