"""What a run shows while it goes: a bar, and of each evaluation the figures that matter."""

from typing import Any

from transformers.trainer_callback import PrinterCallback, ProgressCallback

_SHOWN = (
    "loss", "grad_norm", "learning_rate", "epoch", "train_runtime", "train_loss",
    "eval_loss", "eval_mean_iou", "eval_mean_accuracy", "eval_overall_accuracy",
    "test_loss", "test_mean_iou", "test_mean_accuracy", "test_overall_accuracy",
)  # fmt: skip


def shown(logs: dict[str, Any]) -> dict[str, Any]:
    """Without the two lines a class, which stand in the table at the end."""
    return {key: logs[key] for key in _SHOWN if key in logs}


class ConciseProgress(ProgressCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        super().on_log(args, state, control, logs=shown(logs or {}), **kwargs)


class ConcisePrinter(PrinterCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_local_process_zero:
            print(shown(logs or {}), flush=True)
