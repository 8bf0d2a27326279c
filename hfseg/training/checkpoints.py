"""Checkpoints: they get their name once complete, and are loaded strictly."""

import json
import logging
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from hfseg.models.loading import quiet_transformers

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

    `trainer_state.json` is written last, so the other files are complete if it is readable. The
    length of the weights is also checked against their header.
    """
    for name in _REQUIRED:
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
    if not any(checkpoint.glob("rng_state*.pth")):
        return "rng_state.pth is missing"
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "trainer_state.json is missing"
    except ValueError:
        return "trainer_state.json is truncated"
    if _is_truncated(checkpoint / "model.safetensors"):
        return "model.safetensors is truncated"
    return None


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
        RuntimeError: a tensor is missing, unexpected or has another shape.
    """
    with quiet_transformers():
        loaded, info = type(model).from_pretrained(
            checkpoint, config=model.config, output_loading_info=True, dtype=model.dtype
        )
    wrong = {key: sorted(map(str, keys)) for key, keys in info.items() if keys}
    if wrong:
        raise RuntimeError(f"{checkpoint} does not contain the weights of this model: {wrong}")
    model.load_state_dict(loaded.state_dict(), strict=True)
