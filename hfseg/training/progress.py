"""What a run shows while it goes: a bar, and of each evaluation the figures that matter."""

from typing import Any

from transformers.trainer_callback import PrinterCallback, ProgressCallback

from hfseg.metrics.table import TRAINING_METRICS

_NAMES = [metric.name for metric in TRAINING_METRICS]
_SHOWN = (
    *("loss", "grad_norm", "learning_rate", "epoch", "train_runtime", "train_loss"),
    *(f"{prefix}_{name}" for prefix in ("eval", "test") for name in ("loss", *_NAMES)),
)


def shown(logs: dict[str, Any]) -> dict[str, Any]:
    """Without the values per class, which are in the table at the end."""
    return {key: logs[key] for key in _SHOWN if key in logs}


class ConciseProgress(ProgressCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        super().on_log(args, state, control, logs=shown(logs or {}), **kwargs)


class ConcisePrinter(PrinterCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_local_process_zero:
            print(shown(logs or {}), flush=True)
