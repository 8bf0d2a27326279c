"""SIGTERM, as SLURM and cloud machines send it before they take a machine away: save and stop."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

EXIT_CODE = 128 + signal.SIGTERM
"""143, what a process ended by SIGTERM returns: the scheduler sees that the job isn't finished."""


class Preempted(Exception):
    """Training was stopped by SIGTERM; a checkpoint of this very step is on disk."""


class SaveOnSigterm(TrainerCallback):
    """On SIGTERM saves a checkpoint after the running step and raises `Preempted`.

    All processes stop at the same step, whichever of them got the signal. At the last step of an
    epoch the evaluation and saving of its end come first, so that a resumed run has them too. A
    second SIGTERM ends the process as usual.
    """

    def __init__(self) -> None:
        self.received = False
        self._stopping = False
        self._previous: Any = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        signal.signal(signal.SIGTERM, self._previous)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.received = self._stopping = False
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self._handle)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not float(state.epoch or 0).is_integer():
            self._stop_if_received(args, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop_if_received(args, control)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._stopping:
            raise Preempted

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._previous)

    def _stop_if_received(self, args: Any, control: Any) -> None:
        received = self.received
        if args.world_size > 1:
            flag = torch.tensor(int(received), device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            received = bool(flag)
        if received:
            self._stopping = control.should_save = True
