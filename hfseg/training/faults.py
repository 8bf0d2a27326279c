"""What stops a training from outside, each reported in one sentence that says how to go on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from hfseg.disk import explain_disk_error
from hfseg.errors import UserError
from hfseg.training.checkpoints import list_checkpoints

_IN_WORKER = "in DataLoader worker process"
_WORKER_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)")
_PEER_GONE = re.compile(
    r"connection (?:was )?(?:closed|reset|aborted)|broken pipe|socket closed|remote process exited"
    r"|timed out waiting",
    re.IGNORECASE,
)


@contextmanager
def faults_explained(output_dir: str | Path) -> Iterator[None]:
    """Turn errors that are no bug of hfseg into a `UserError`; all others pass unchanged."""
    try:
        yield
    except Exception as error:  # libraries wrap what the operating system reports in their own
        reason = _reason(error)
        if reason is None:
            raise
        raise UserError(f"{reason}, {_how_to_go_on(Path(output_dir))}") from error


def _reason(error: Exception) -> str | None:
    text = str(error)
    if isinstance(error, UserError):
        # torch repeats it with the traceback of the worker
        return text.rpartition("UserError: ")[2].strip() if _IN_WORKER in text else None
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "the GPU ran out of memory: give a smaller --per_device_train_batch_size (with more "
            "--gradient_accumulation_steps) or --crop_size, or --auto_find_batch_size"
        )
    if isinstance(error, MemoryError):
        where = "a data worker" if _IN_WORKER in text else "this process"
        return f"{where} ran out of memory: lower --dataloader_num_workers, or use smaller images"
    if died := _WORKER_DIED.search(text):
        return (
            f"a data worker (process {died[1]}) {died[2].rstrip('. ')}, usually for lack of "
            "memory: lower --dataloader_num_workers"
        )
    if isinstance(error, torch.distributed.DistError) or _is_of_collective(text):
        return "another process of this run has ended or lost its connection: see its error"
    disk = explain_disk_error(error)
    return disk and f"writing failed because {disk}: free some space"


def _is_of_collective(text: str) -> bool:
    return bool(_PEER_GONE.search(text)) and ("gloo" in text or "NCCL" in text)


def _how_to_go_on(folder: Path) -> str:
    if not list_checkpoints(folder) and not (folder / "model.safetensors").is_file():
        return "then start the run again"
    return f"then resume with: hfseg finetune --output_dir {folder} --resume_from_checkpoint true"
