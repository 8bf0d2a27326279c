"""Run things on the GPU, in processes of their own: this process, like all other tests, has none.

`HFSEG_GPU_TESTS_ON=cpu` runs on the CPU what it can do, which shows that the tests themselves work.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from launch import environment

REHEARSAL = os.environ.get("HFSEG_GPU_TESTS_ON") == "cpu"
TASKS = Path(__file__).with_name("tasks.py")


def gpu_environment(gpus: int | None = None) -> dict[str, str]:
    """The environment of a process that sees so many GPUs (None: all), and computes in float32
    without TF32."""
    values = environment(NVIDIA_TF32_OVERRIDE="0")
    if REHEARSAL or gpus == 0:
        return values
    del values["ACCELERATE_USE_CPU"], values["CUDA_VISIBLE_DEVICES"]
    visible = os.environ["HFSEG_TEST_GPUS"]
    if gpus is not None:
        every = map(str, range(gpus)) if visible == "all" else visible.split(",")
        values["CUDA_VISIBLE_DEVICES"] = ",".join(list(every)[:gpus])
    elif visible != "all":
        values["CUDA_VISIBLE_DEVICES"] = visible
    return values


@cache
def count_gpus() -> int:
    code = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=gpu_environment(), capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return int(done.stdout.split()[-1])


def need_gpus(number: int = 1, rehearsed: bool = True) -> None:
    """Skip the test where there are fewer; `rehearsed` says whether the CPU can do it too."""
    if REHEARSAL and rehearsed:
        return
    if REHEARSAL or count_gpus() < number:
        more = "" if number == 1 else " (with two GPUs, for DDP)"
        pytest.skip(f"GPU: run `make test` on a machine with an NVIDIA GPU{more}")


def run_on_gpu(*command: object, gpus: int = 1, timeout: float = 600) -> str:
    """Run `python COMMAND...` with so many GPUs, 0 for the CPU; what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=gpu_environment(gpus), capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(
            f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done.stdout


def run_task(name: str, *arguments: object) -> dict[str, Any]:
    """One of `tasks.py`, on the GPU; what it reports."""
    device = "cpu" if REHEARSAL else "cuda"
    return json.loads(run_on_gpu(TASKS, name, device, *arguments).splitlines()[-1])
