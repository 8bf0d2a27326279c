"""Commands in several real processes that are forked, so that nothing is imported again."""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, PartialState

from hfseg.cli import run


def run_forked(
    words: Sequence[str], processes: int, folder: Path, prepare: Callable[[], object] | None = None
) -> tuple[list[int], str]:
    """Run `hfseg WORDS` in processes that share its work; when one fails, the others are ended.

    Args:
        folder: for what the processes print.
        prepare: called in each process first.

    Returns:
        The exit codes (negative for a signal), and what all of them printed.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    left = {}
    for rank in range(processes):
        pid = os.fork()
        if pid == 0:
            _child(words, rank, processes, port, folder / f"printed-{rank}.txt", prepare)
        left[pid] = rank
    codes = [0] * processes
    while left:
        for pid in list(left):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            codes[left.pop(pid)] = os.waitstatus_to_exitcode(status)
            if status:
                for other in left:
                    os.kill(other, signal.SIGKILL)
        time.sleep(0.02)
    return codes, "".join(file.read_text() for file in sorted(folder.glob("printed-*.txt")))


def _child(
    words: Sequence[str],
    rank: int,
    processes: int,
    port: int,
    printed: Path,
    prepare: Callable[[], object] | None,
) -> None:
    code = 1
    try:
        with printed.open("w") as file:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
            torch.set_num_threads(1)  # those of the parent don't exist in a fork, which would wait
            PartialState._reset_state()
            AcceleratorState._reset_state()
            if processes > 1:
                os.environ |= {
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port),
                    "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
                    "MASTER_ADDR": "127.0.0.1",
                }  # fmt: skip
            if prepare is not None:
                prepare()
            run(words[0], words[1:])
            assert PartialState().num_processes == processes
            if processes > 1:
                torch.distributed.destroy_process_group()
            code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)  # without the fixtures of the tests
