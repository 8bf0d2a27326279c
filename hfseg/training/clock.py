"""How long a run has trained, over all its legs."""

import time
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class TrainingClock(TrainerCallback, ExportableState):
    """Seconds of training, saved with every checkpoint and continued from it.

    What a killed leg did after its last checkpoint is not counted: it is done again.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._started: float | None = None

    @property
    def elapsed(self) -> float:
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self.seconds + running

    def state(self) -> dict[str, Any]:
        return {"args": {"seconds": self.elapsed}, "attributes": {}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.seconds = 0.0
        self._started = time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds, self._started = self.elapsed, None
