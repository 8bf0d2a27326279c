"""Start the real `scripts/finetune.py` in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
SCRIPT = REPOSITORY / "scripts" / "finetune.py"
BIN = Path(sys.executable).parent


def environment(**extra: str) -> dict[str, str]:
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **extra}


def on_cpu(bf16: bool) -> dict[str, str]:
    """For `environment`: processes that find a CPU with or without bfloat16 instructions."""
    machines = str(Path(__file__).parent / "machines")
    paths = os.pathsep.join([machines, environment()["PYTHONPATH"]])
    return {"PYTHONPATH": paths, "TEST_CPU_HAS_BF16": str(bf16).lower()}


def finetune_command(*flags: str, processes: int = 1) -> list[str]:
    """The command line; with several processes through `accelerate launch` on the CPU."""
    if processes == 1:
        return [sys.executable, str(SCRIPT), *flags]
    return [
        str(BIN / "accelerate"), "launch", "--multi_gpu", "--num_processes", str(processes),
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0", str(SCRIPT), *flags,
    ]  # fmt: skip


def run_finetune(
    *flags: str, processes: int = 1, check: bool = True, **extra: str
) -> subprocess.CompletedProcess:
    done = subprocess.run(
        finetune_command(*flags, processes=processes),
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done


def run_script(
    name: str, *arguments: object, check: bool = True, **variables: str
) -> subprocess.CompletedProcess:
    """Run `scripts/NAME ARGUMENTS...`, output captured as text."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / name), *map(str, arguments)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}")
    return done
