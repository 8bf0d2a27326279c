"""SIGTERM, as SLURM and cloud machines send it before they take a machine away, and Ctrl-C: save
and stop."""

import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

SIGNALS = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
_SAME_SECONDS = 3.0
"""A launcher passes on the signal that its processes have got already: that counts as one."""


class Preempted(Exception):
    """Training was stopped by a signal; a checkpoint of this very step is on disk."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = SIGNALS[signal.Signals(number)]
        # what a process that the signal ended returns: a scheduler sees that it is not finished
        self.exit_code = 128 + number


class SaveOnSignal(TrainerCallback):
    """On SIGTERM or Ctrl-C saves a checkpoint after the running step and raises `Preempted`.

    All processes stop at the same step, whichever of them got the signal. At the last step of an
    epoch the evaluation and saving of its end come first, so that a resumed run has them too. A
    second signal ends the process as usual.
    """

    def __init__(self) -> None:
        self.received = 0
        self._stopping = 0
        self._previous: dict[int, Any] = {}
        self._time = 0.0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._time = number, time.monotonic()
        elif time.monotonic() - self._time > _SAME_SECONDS:
            self._restore()
            signal.raise_signal(number)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.received = self._stopping = 0
        if threading.current_thread() is threading.main_thread():
            self._previous = {each: signal.signal(each, self._handle) for each in SIGNALS}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not float(state.epoch or 0).is_integer():
            self._stop_if_received(args, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop_if_received(args, control)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._stopping:
            raise Preempted(self._stopping)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def _stop_if_received(self, args: Any, control: Any) -> None:
        received = self.received
        if args.world_size > 1:
            flag = torch.tensor(received, device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            received = int(flag)
        if received:
            self._stopping, control.should_save = received, True
