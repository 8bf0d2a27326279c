"""Checkpoints: they get their name once complete, and are loaded strictly."""

import json
import logging
import pickle
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from hfseg.errors import UNREADABLE, UserError
from hfseg.models.loading import check_finite, quiet_transformers

logger = logging.getLogger("hfseg")

_NAME = re.compile(r"checkpoint-(\d+)$")
STAGING = "_unfinished"
"""Folder in which the next checkpoint is written."""

STATE_FILE = "trainer_state.json"
"""The trainer's state, in each checkpoint and in the folder of a finished run."""

_REQUIRED = ("config.json", "model.safetensors", "optimizer.pt", "scheduler.pt")


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first."""
    folder = Path(output_dir)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and _NAME.match(path.name)]
    return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))


def publish(staging: Path, run_dir: Path) -> None:
    """Rename the complete checkpoint in `staging` to its final place.

    An older checkpoint of the same step is replaced only then.
    """
    for finished in list_checkpoints(staging):
        final = run_dir / finished.name
        if final.exists():
            final.rename(staging / f"replaced-{final.name}")
        finished.rename(final)
    shutil.rmtree(staging, ignore_errors=True)


def what_is_missing(checkpoint: Path) -> str | None:
    """Why a checkpoint can't be resumed from, or None if it is complete.

    Nothing is loaded: safetensors state their length at the beginning, and torch's files, which are
    ZIP archives, have their directory at the end.
    """
    for name in _REQUIRED:
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
    random_states = sorted(checkpoint.glob("rng_state*.pth"))
    if not random_states:
        return "rng_state.pth is missing"
    for file in (checkpoint / "config.json", checkpoint / STATE_FILE):
        if not file.is_file():
            return f"{file.name} is missing"
        if not is_readable_json(file):
            return f"{file.name} is truncated"
    if _is_truncated(checkpoint / "model.safetensors"):
        return "model.safetensors is truncated"
    for file in (checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *random_states):
        if not zipfile.is_zipfile(file):
            return f"{file.name} is truncated"
    return None


def is_readable_json(file: Path) -> bool:
    """Whether a file is there, and complete."""
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, *UNREADABLE):
        return False
    return True


def _is_truncated(path: Path) -> bool:
    """Whether a safetensors file is shorter than its header states."""
    try:
        with safe_open(path, framework="pt"):
            return False
    except SafetensorError:
        return True


def last_complete_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest complete checkpoint; incomplete ones are logged and skipped."""
    for checkpoint in reversed(list_checkpoints(output_dir)):
        reason = what_is_missing(checkpoint)
        if reason is None:
            return checkpoint
        logger.warning("%s is incomplete (%s): skipped", checkpoint, reason)
    return None


def restore_weights(model: PreTrainedModel, checkpoint: str | Path) -> None:
    """Load a checkpoint's weights into `model`: every tensor, or raise.

    transformers saves some architectures under legacy key names, which only `from_pretrained`
    maps back; `load_state_dict(strict=False)` would skip most of SegFormer.

    Raises:
        UserError: a tensor is missing, unexpected, has another shape, or is not finite.
    """
    with quiet_transformers():
        loaded, info = type(model).from_pretrained(
            checkpoint,
            config=model.config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=model.dtype,
        )
    wrong = [f"{keys[0]} is {_WRONG[kind]}" for kind in _WRONG if (keys := _names(info[kind]))]
    if wrong:
        raise UserError(
            f"{checkpoint} does not contain the weights of this {type(model).__name__}: "
            f"{', '.join(wrong)}; it belongs to another model; give a checkpoint of this run"
        )
    check_finite(loaded, checkpoint)
    model.load_state_dict(loaded.state_dict(), strict=True)


_WRONG = {
    "missing_keys": "missing",
    "unexpected_keys": "not part of it",
    "mismatched_keys": "of another shape",
}


def _names(keys: Collection[Any]) -> list[str]:
    return sorted(key if isinstance(key, str) else key[0] for key in keys)


@contextmanager
def only_tensors(checkpoint: str | Path | None) -> Iterator[None]:
    """For loading states, which torch refuses where they contain more than tensors and numbers.

    Raises:
        UserError: they do, or are damaged.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{checkpoint} contains a file that could run code, so it is not read; give a "
            "checkpoint that you wrote yourself"
        ) from error
