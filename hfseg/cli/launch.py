"""Starts a command in several processes through accelerate."""

import logging
import os
import signal
import socket
import subprocess
from collections.abc import Collection, Sequence

import torch
from accelerate.commands.launch import launch_command, launch_command_parser
from accelerate.utils import parse_flag_from_env
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from hfseg.data.workers import usable_cores
from hfseg.errors import UserError


def split_launch_flags(argv: Sequence[str], ours: Collection[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into those for `accelerate launch` and those for the command.

    A flag of both, such as `--mixed_precision`, goes to the command.
    """
    takes_value = {
        option: action.nargs != 0
        for action in launch_command_parser()._actions
        for option in action.option_strings
        if option.startswith("--") and option.lstrip("-").replace("-", "_") not in ours
    }
    launcher: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag not in takes_value or flag == "--help":
            rest.append(word)
            continue
        launcher.append(word)
        if takes_value[flag] and not equals:
            launcher.extend(value for value in [next(words, None)] if value is not None)
    return launcher, rest


def wants_launch(launcher: Sequence[str]) -> bool:
    """Whether a launch was requested, or is needed to use all GPUs; False in a launched process."""
    if is_launched():
        return False
    if launcher:
        return True
    return torch.cuda.device_count() > 1 and not _uses_cpu()


def is_launched() -> bool:
    """Whether this process was started by `accelerate launch` or `torchrun`."""
    return "LOCAL_RANK" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ


def use_all_cores() -> None:
    """Use all cores in the only process of a machine; accelerate limits it to one thread."""
    if not is_launched() or int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        return
    if os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(usable_cores())


def launch(command: str, launcher: Sequence[str], argv: Sequence[str]) -> None:
    """Run `hfseg COMMAND ARGV` in processes started by accelerate, and exit with their code.

    Raises:
        SystemExit: with the exit code of the first process that failed, or 0.
    """
    words = list(launcher)
    given = {word.partition("=")[0].lstrip("-").replace("-", "_") for word in words}
    requested = launch_command_parser().parse_args([*words, "script"])
    count = requested.num_processes
    if not given & {"config_file", "num_machines", "use_deepspeed", "use_fsdp"}:
        count = count or _devices()
        words += _missing(given, count)
    if count != 1:
        _check_loopback()
    if _uses_cpu() and count != 1:
        # accelerate starts a single process for `--cpu --num_processes 2`
        os.environ["ACCELERATE_USE_CPU"] = "true"
        words += [] if "multi_gpu" in given else ["--multi_gpu"]
    arguments = launch_command_parser().parse_args([*words, "--module", "hfseg", command, *argv])
    for name in ("torch.distributed.elastic", "torch.distributed.run"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the process reports the error itself
    raise SystemExit(_end_of(launch_command, arguments))


def _check_loopback() -> None:
    """Processes meet on 127.0.0.1; without it, torch waits for 15 minutes before it gives up."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        raise UserError(
            f"several processes need the loopback network (127.0.0.1), which fails here ({error}); "
            "bring up the interface `lo`, or use --num_processes 1"
        ) from error


def _missing(given: Collection[str], count: int) -> list[str]:
    """Values whose absence makes accelerate print a warning."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(usable_cores() // count, 1))
    values = {
        "num_processes": count, "num_machines": 1, "num_cpu_threads_per_process": threads,
        "mixed_precision": "no", "dynamo_backend": "no", "main_process_port": 0,
    }  # fmt: skip
    return [f"--{key}={value}" for key, value in values.items() if key not in given]


def _end_of(launch_command: object, arguments: object) -> int:
    # Ctrl-C also reaches the processes: wait until they have saved
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        launch_command(arguments)  # type: ignore[operator]
    except subprocess.CalledProcessError as error:
        return _exit_code(error.returncode)
    except ChildFailedError as error:
        return _exit_code(error.get_first_failure()[1].exitcode)
    except SignalException as error:
        return 128 + error.sigval
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _exit_code(code: int) -> int:
    """The exit code as in a shell: 128 + N for a process ended by signal N."""
    return 128 - code if code < 0 else code


def _devices() -> int:
    return 1 if _uses_cpu() else max(torch.cuda.device_count(), 1)


def _uses_cpu() -> bool:
    return parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
