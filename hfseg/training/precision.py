"""Device, precision and memory format of a training run: one rule for every machine."""

import os
from dataclasses import dataclass

import torch
from accelerate.utils import parse_flag_from_env
from transformers.utils import is_torch_bf16_gpu_available

from hfseg.errors import UserError
from hfseg.models.convolutions import is_depthwise

CHOICES = ("auto", "no", "bf16", "fp16")


@dataclass(frozen=True)
class Hardware:
    """The properties of a run's device that determine its precision."""

    device: str
    """`cpu`, `cuda`, `mps`, ... as `torch.device.type`."""
    bf16: bool
    """Whether the device has instructions for bfloat16, which makes it faster than float32."""
    emulates_bf16: bool = False
    """Whether bfloat16 works without them, but slowly."""


@dataclass(frozen=True)
class Precision:
    """The matching fields of `TrainingArguments`."""

    use_cpu: bool
    bf16: bool
    fp16: bool


def detect_hardware(use_cpu: bool = False) -> Hardware:
    """The accelerator, or the CPU if there is none or if it was requested.

    Args:
        use_cpu: `--use_cpu`; the variable `ACCELERATE_USE_CPU` means the same.
    """
    accelerator = None
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or use_cpu or parse_flag_from_env("ACCELERATE_USE_CPU"):
        return Hardware("cpu", bf16=_cpu_has_bf16(), emulates_bf16=True)
    if accelerator.type == "cuda":
        return Hardware("cuda", bf16=_cuda_has_bf16())
    if accelerator.type == "mps":  # macOS 14 and newer emulate it
        return Hardware("mps", bf16=False, emulates_bf16=is_torch_bf16_gpu_available())
    return Hardware(accelerator.type, bf16=is_torch_bf16_gpu_available())


def choose_precision(
    mixed_precision: str,
    hardware: Hardware,
    *,
    bf16: bool = False,
    fp16: bool = False,
    launcher: str | None = None,
) -> Precision:
    """The precision of a run, from the options and the hardware.

    `auto` is bfloat16 if the hardware supports it, else float32. It is never float16, whose small
    range needs loss scaling and still overflows in some models.

    Args:
        mixed_precision: `--mixed_precision`, one of `CHOICES`.
        bf16, fp16: the flags of `TrainingArguments`, with the same meaning.
        launcher: `--mixed_precision` of `accelerate launch`. It is `no` also if it was not given,
            so only other values override `auto`.

    Raises:
        UserError: an unknown or contradictory choice, or one the device does not support.
    """
    if mixed_precision not in CHOICES:
        raise UserError(
            f"--mixed_precision {mixed_precision!r}: choose {', '.join(CHOICES[:-1])} or fp16"
        )
    requested = {name for name, flag in (("bf16", bf16), ("fp16", fp16)) if flag}
    if mixed_precision != "auto":
        requested.add(mixed_precision)
    if len(requested) > 1:
        raise UserError(
            f"{' and '.join(sorted(requested))} were both requested; choose one with "
            "--mixed_precision"
        )
    if not requested and launcher not in (None, "no"):
        if launcher not in CHOICES:
            raise UserError(
                f"accelerate launch --mixed_precision {launcher}: choose no, bf16 or fp16"
            )
        requested.add(launcher)
    default = "bf16" if hardware.bf16 else "no"
    precision = requested.pop() if requested else default
    if precision == "fp16" and hardware.device == "cpu":
        raise UserError("fp16 training needs a GPU; use --mixed_precision bf16 or no on a CPU")
    if precision == "bf16" and not (hardware.bf16 or hardware.emulates_bf16):
        raise UserError(
            f"this {hardware.device} device does not support bf16 (CUDA needs capability 8.0, "
            "MPS macOS 14); use --mixed_precision fp16 or no"
        )
    return Precision(
        use_cpu=hardware.device == "cpu", bf16=precision == "bf16", fp16=precision == "fp16"
    )


def memory_format(model: torch.nn.Module, precision: Precision) -> torch.memory_format:
    """Channels last if training was measured to be faster with it, else contiguous.

    One training step (batches of 4, 160 x 224, one core with AVX512-BF16), contiguous against
    channels last, took 1.10 to 1.41 times as long in float32 with five networks of depthwise
    convolutions, and 0.82 to 1.10 times with eight others. In bfloat16 it took 0.84 to 1.13 times
    as long, whatever the network. GPUs were not measured.
    """
    half = precision.bf16 or precision.fp16
    if precision.use_cpu and not half and is_depthwise(model):
        return torch.channels_last
    return torch.contiguous_format


def launcher_precision() -> str | None:
    """The value set by `accelerate launch`, None outside of it."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION")


def _cpu_has_bf16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _cuda_has_bf16() -> bool:
    """Whether all visible GPUs have it, since the processes of one run must agree."""
    return bool(torch.version.hip) or all(
        torch.cuda.get_device_capability(index) >= (8, 0)
        for index in range(torch.cuda.device_count())
    )
