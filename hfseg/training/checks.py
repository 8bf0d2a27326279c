"""Checks of the options of a run, made before it starts."""

import difflib
import os

from transformers import PreTrainedModel, TrainingArguments

from hfseg.data.transforms import Size
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.streaming import metric_names
from hfseg.models.universal_eomt import EOMT, side_of


def check_device(training: TrainingArguments, sync_batch_norm: bool) -> None:
    """Check that the device, or several of them, support the requested training.

    On CPUs accelerate would silently replace FSDP by plain data parallelism, and torch's
    synchronized batch norm fails at the first step.

    Raises:
        UserError: it doesn't.
    """
    if training.auto_find_batch_size and training.world_size > 1:
        raise UserError(
            "--auto_find_batch_size works in one process only, as the others would wait for the "
            "one that ran out of memory; find the batch size on one GPU, then use it on all"
        )
    if training.device.type != "cpu":
        return
    if sync_batch_norm:
        raise UserError(
            "--sync_batch_norm needs GPUs, as torch does not support it on CPUs; leave it out, and "
            "each process normalizes its own batch"
        )
    if training.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1"):
        raise UserError(
            "FSDP needs GPUs; leave out --fsdp and the FSDP config to train on CPUs with plain "
            "data parallelism (DDP)"
        )


def check_compiler(training: TrainingArguments) -> None:
    """Check for the C++ compiler that `torch.compile` needs on a CPU.

    Raises:
        UserError: there is none.
    """
    if not training.torch_compile or training.torch_compile_backend != "inductor":
        return
    if training.device.type != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler  # seconds to import
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        raise UserError(
            "--torch_compile needs a C++ compiler on CPUs, and none was found: install g++ "
            "(apt install g++), or leave the flag out"
        ) from error


def check_crop_size(model: PreTrainedModel, crop_size: Size | None) -> None:
    """Check the crop size of EoMT, which trains only on squares of its own size."""
    if model.config.model_type not in EOMT:
        return
    side = side_of(model.config)
    if crop_size != (side, side):
        raise UserError(
            f"{type(model).__name__} trains on squares of {side} pixels: give --crop_size {side}, "
            "or another size with --model_config image_size"
        )


def check_metric(training: TrainingArguments, labels: LabelSet, patience: int | None) -> None:
    """Check the metric, which would otherwise stop the run after its first epoch."""
    metric = str(training.metric_for_best_model or "").removeprefix("eval_")
    known = metric_names(labels)
    if (training.load_best_model_at_end or patience) and metric not in known:
        close = difflib.get_close_matches(metric, known, n=1)
        summary = ", ".join(known[: known.index("loss") + 1])
        hint = f"did you mean {close[0]}?" if close else f"choose from {summary}"
        raise UserError(f"--metric_for_best_model {metric!r} is not measured; {hint}")
    if patience and training.eval_strategy == "no":
        raise UserError("--early_stopping_patience needs --eval_strategy epoch or steps")
