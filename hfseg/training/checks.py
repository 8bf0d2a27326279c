"""What can be wrong with the flags of a run and is better reported before it starts."""

import difflib
import os

from transformers import PreTrainedModel, TrainingArguments

from hfseg.data.transforms import Size
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.streaming import metric_names
from hfseg.models.universal_eomt import EOMT, side_of


def check_device(training: TrainingArguments, sync_batch_norm: bool) -> None:
    """What a CPU can't do is reported, never silently replaced.

    accelerate would turn FSDP into plain data parallelism here, and torch's synchronized batch
    norm stops at the first step.
    """
    if training.device.type != "cpu":
        return
    if sync_batch_norm:
        raise UserError(
            "--sync_batch_norm needs GPUs, torch has none for the CPU; leave it out, "
            "every process then normalizes by its own batch"
        )
    if training.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1"):
        raise UserError(
            "FSDP needs GPUs, on the CPU it would be plain data parallelism (DDP); "
            "leave --fsdp and the FSDP config out to train with that"
        )


def check_crop_size(model: PreTrainedModel, crop_size: Size | None) -> None:
    """EoMT trains on squares of its own size only."""
    if model.config.model_type not in EOMT:
        return
    side = side_of(model.config)
    if crop_size != (side, side):
        raise UserError(
            f"{type(model).__name__} trains on squares of {side} pixels: give --crop_size {side}, "
            "or another size with --model_config image_size"
        )


def check_metric(training: TrainingArguments, labels: LabelSet, patience: int | None) -> None:
    """A metric that isn't there would end the run after its first epoch."""
    metric = str(training.metric_for_best_model or "").removeprefix("eval_")
    known = metric_names(labels)
    if (training.load_best_model_at_end or patience) and metric not in known:
        close = difflib.get_close_matches(metric, known, n=1)
        summary = ", ".join(known[: known.index("loss") + 1])
        hint = f"did you mean {close[0]}?" if close else f"choose from {summary}"
        raise UserError(f"--metric_for_best_model {metric!r} is not measured; {hint}")
    if patience and training.eval_strategy == "no":
        raise UserError("--early_stopping_patience needs --eval_strategy epoch or steps")
