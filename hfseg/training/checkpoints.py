"""Checkpoints: written under another name until they are whole, and loaded tensor by tensor."""

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
"""Folder beside the checkpoints in which the next one is written."""

STATE_FILE = "trainer_state.json"
"""The state of the trainer in a checkpoint; beside the model when the training is finished."""

_REQUIRED = ("config.json", "model.safetensors", "optimizer.pt", "scheduler.pt")


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first."""
    folder = Path(output_dir)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and _NAME.match(path.name)]
    return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))


def publish(staging: Path, run_dir: Path) -> None:
    """Move the finished checkpoint in `staging` to its place, by a rename.

    One of the same step that is there already gives way only when the new one is whole.
    """
    for finished in list_checkpoints(staging):
        final = run_dir / finished.name
        if final.exists():
            final.rename(staging / f"replaced-{final.name}")
        finished.rename(final)
    shutil.rmtree(staging, ignore_errors=True)


def what_is_missing(checkpoint: Path) -> str | None:
    """Why a checkpoint can't be resumed from, or None if it is whole.

    `trainer_state.json` is the last file that is written, so a readable one means that the
    others were finished; the length of the weights is checked against their own header.
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
        return "trainer_state.json is cut off"
    if _is_cut_off(checkpoint / "model.safetensors"):
        return "model.safetensors is cut off"
    return None


def _is_cut_off(path: Path) -> bool:
    """Whether a safetensors file is not of the length that its header states."""
    try:
        with safe_open(path, framework="pt"):
            return False
    except SafetensorError:
        return True


def last_whole_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest checkpoint that can be resumed from; half-written ones are skipped and named."""
    for checkpoint in reversed(list_checkpoints(output_dir)):
        reason = what_is_missing(checkpoint)
        if reason is None:
            return checkpoint
        logger.warning("%s was not written to the end (%s): skipped", checkpoint, reason)
    return None


def restore_weights(model: PreTrainedModel, checkpoint: str | Path) -> None:
    """Load a checkpoint's weights into `model`, every tensor or an error.

    transformers saves some architectures under legacy key names; only `from_pretrained` maps
    them back, a plain `load_state_dict(strict=False)` leaves most of SegFormer as it was.

    Raises:
        RuntimeError: a tensor is missing, superfluous or of another shape.
    """
    with quiet_transformers():
        loaded, info = type(model).from_pretrained(
            checkpoint, config=model.config, output_loading_info=True, dtype=model.dtype
        )
    wrong = {key: sorted(map(str, keys)) for key, keys in info.items() if keys}
    if wrong:
        raise RuntimeError(f"{checkpoint} does not hold the weights of this model: {wrong}")
    model.load_state_dict(loaded.state_dict(), strict=True)
