"""Save and stop on Ctrl-C and on SIGTERM, which SLURM and clouds send before preempting a job."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SIGNALS = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
_SAME_SECONDS = 3.0
"""Signals this close count as one: a launcher forwards what its processes already received."""

_Handler = Callable[[int, FrameType | None], object] | int | None


class Preempted(Exception):
    """Training was stopped by a signal; a checkpoint of this step is on disk."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = SIGNALS[signal.Signals(number)]
        # the code of a process ended by the signal, so that schedulers see an unfinished job
        self.exit_code = 128 + number


class SaveOnSignal(TrainerCallback):
    """Saves a checkpoint after the current step on SIGTERM or Ctrl-C, and raises `Preempted`.

    All processes stop at the same step, whichever of them received the signal. After the last step
    of an epoch its evaluation and saving come first, so that a resumed run has them too. A second
    signal ends the process as usual.
    """

    def __init__(self) -> None:
        self.received = 0
        self._stopping = 0
        self._previous: dict[signal.Signals, _Handler] = {}
        self._time = 0.0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._time = number, time.monotonic()
        elif time.monotonic() - self._time > _SAME_SECONDS:
            self._restore()
            signal.raise_signal(number)

    def on_train_begin(self, *_: object, **kwargs: object) -> None:
        self._restore()  # of a training that was started again (`--auto_find_batch_size`)
        self.received = self._stopping = 0
        if threading.current_thread() is threading.main_thread():
            self._previous = {each: signal.signal(each, self._handle) for each in SIGNALS}

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        if not float(state.epoch or 0).is_integer():
            self._stop_if_received(args, control)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        self._stop_if_received(args, control)

    def on_save(self, *_: object, **kwargs: object) -> None:
        if self._stopping:
            raise Preempted(self._stopping)

    def on_train_end(self, *_: object, **kwargs: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def _stop_if_received(self, args: TrainingArguments, control: TrainerControl) -> None:
        received = self.received
        if args.world_size > 1:
            flag = torch.tensor(received, device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            received = int(flag)
        if received:
            self._stopping, control.should_save = received, True


@dataclass(frozen=True)
class StopWithParent:
    """The `worker_init_fn` of a data worker that only its parent can stop.

    Schedulers, `timeout` and terminals signal every process of a job, but the parent still needs
    its workers: for the rest of the running step and for the evaluation before the checkpoint.

    Attributes:
        then: another `worker_init_fn`, called with the worker's number.
    """

    then: Callable[[int], object] | None = None

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Only sigwaitinfo (not on macOS and Windows) reports who sent a signal. A worker that
        # ignored its parent too would keep it from exiting.
        if hasattr(signal, "sigwaitinfo"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_exit_for_parent, daemon=True).start()
        if self.then is not None:
            self.then(worker)


def _exit_for_parent() -> None:
    parent = multiprocessing.parent_process()
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != (parent and parent.pid):
        pass
    os._exit(0)
