"""The progress of a training run: a bar in a terminal, aligned lines elsewhere."""

import time

from torch.utils.data import DataLoader
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import has_length

from hfseg.progress import Progress

_SHOWN = ("loss", "learning_rate", "epoch", "eval_loss", "eval_mean_iou", "eval_overall_accuracy")


class ConciseProgress(ProgressCallback):
    """`Trainer`'s bar; above it only the main scores of an evaluation."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        logs = logs or {}
        few = {key: logs[key] for key in _SHOWN if key in logs}
        super().on_log(args, state, control, logs=few, **kwargs)


class ConcisePrinter(PrinterCallback):
    """One aligned line per log step, and one per evaluation with the change since the last.

    The evaluation after the training is left to the table that a run prints.
    """

    def __init__(self) -> None:
        self._training = False
        self._started = 0.0
        self._first_step = 0
        self._best: float | None = None
        self._evaluating: Progress | None = None

    def on_train_begin(
        self, args: object, state: TrainerState, *_: object, **kwargs: object
    ) -> None:
        self._started, self._first_step = time.monotonic(), state.global_step
        scores = [log["eval_mean_iou"] for log in state.log_history if "eval_mean_iou" in log]
        self._best = max(scores, default=None)  # of a resumed run
        self._training = True

    def on_train_end(self, *_: object, **kwargs: object) -> None:
        self._training = False

    def on_prediction_step(
        self,
        args: object,
        state: TrainerState,
        control: object,
        eval_dataloader: DataLoader | None = None,
        **kwargs: object,
    ) -> None:
        if self._evaluating is None:
            total = None  # of a stream
            if eval_dataloader is not None and has_length(eval_dataloader):
                total = len(eval_dataloader)
            shown = state.is_local_process_zero
            self._evaluating = Progress(total, "evaluating", "batches", shown=shown)
        self._evaluating.update()

    def on_evaluate(self, *_: object, **kwargs: object) -> None:
        self._evaluating = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        logs = logs or {}
        if not state.is_local_process_zero:
            return
        if "loss" in logs:
            print(self._training_line(args, state, logs), flush=True)
        elif "eval_mean_iou" in logs and self._training:
            print(self._evaluation_line(state, logs), flush=True)

    def _training_line(
        self, args: TrainingArguments, state: TrainerState, logs: dict[str, float]
    ) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (state.global_step - self._first_step) / seconds
        batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        left = (state.max_steps - state.global_step) / max(rate, 1e-9)
        return (
            f"step {state.global_step:>6}/{state.max_steps}  epoch {logs.get('epoch', 0):6.2f}  "
            f"loss {logs['loss']:8.4f}  lr {logs.get('learning_rate', 0):.2e}  "
            f"{rate * batch:7.1f} images/s  {_clock(left)} left"
        )

    def _evaluation_line(self, state: TrainerState, logs: dict[str, float]) -> str:
        score = logs["eval_mean_iou"]
        change = "" if self._best is None else f" ({score - self._best:+.4f} from the best so far)"
        self._best = score if self._best is None else max(self._best, score)
        return (
            f"evaluation at step {state.global_step}: mean IoU {score:.4f}{change}, "
            f"overall accuracy {logs['eval_overall_accuracy']:.4f}, loss {logs['eval_loss']:.4f}"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
