"""Resumes a run: from its last checkpoint, or from its trained model."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from transformers import AutoConfig, TrainerState

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.training.checkpoints import (
    STATE_FILE,
    is_readable_json,
    last_complete_checkpoint,
    restore_weights,
    what_is_missing,
)
from hfseg.training.trainer import SegmentationTrainer
from hfseg.workflows.run import Run, without_prefix

logger = logging.getLogger("hfseg")

_RESULTS = (
    "README.md", "recipe.yaml", "train_results.json", "eval_results.json", "report/curves.png",
    "report/per_class_iou.png", "report/confusion_matrix.png", "report/predictions.png",
    "report/reliability.png",
)  # fmt: skip


def checkpoint_to_resume(value: object, output_dir: str) -> Path | None:
    """The checkpoint of `--resume_from_checkpoint`; None to start from the beginning.

    Args:
        value: true, or a checkpoint folder.

    Raises:
        UserError: the folder is not a complete checkpoint.
    """
    if str(value).lower() == "true":
        found = last_complete_checkpoint(output_dir)
        if found is None:
            logger.warning(
                "no complete checkpoint in %s yet: starting from the beginning", output_dir
            )
        return found
    checkpoint = Path(str(value))
    if not checkpoint.is_dir():
        raise UserError(
            f"--resume_from_checkpoint {value}: no such folder; give a checkpoint, or true"
        )
    reason = what_is_missing(checkpoint)
    if reason is not None:
        raise UserError(
            f"--resume_from_checkpoint {value}: can't resume from it, {reason}; give another "
            "checkpoint, or true"
        )
    return checkpoint


def is_trained(folder: str | Path) -> bool:
    """Whether the training in this folder is finished."""
    state = Path(folder) / STATE_FILE
    return (Path(folder) / "model.safetensors").is_file() and is_readable_json(state)


def finished_run(folder: str | Path) -> Run | None:
    """The run in this folder if it is complete, else None with a log message."""
    folder = Path(folder)
    missing = [name for name in _RESULTS if not (folder / name).is_file()]
    if missing:
        logger.warning(
            "%s is trained, but %s is missing: it is evaluated again", folder, ", ".join(missing)
        )
        return None

    scores, test = (_scores(folder / f"{split}_results.json") for split in ("eval", "test"))
    labels = LabelSet.from_config(AutoConfig.from_pretrained(folder))
    return Run(output_dir=folder, labels=labels, scores=scores, test_scores=test)


def restore_finished(trainer: SegmentationTrainer, folder: str | Path) -> dict[str, Any]:
    """Restore weights and history of a trained run, and return its training results."""
    folder = Path(folder)
    restore_weights(trainer.model, folder)
    trainer.state = TrainerState.load_from_json(str(folder / STATE_FILE))
    trainer.state.is_local_process_zero = trainer.is_local_process_zero()
    trainer.state.is_world_process_zero = trainer.is_world_process_zero()
    results = folder / "train_results.json"
    if results.is_file():
        return json.loads(results.read_text(encoding="utf-8"))
    return next(log for log in reversed(trainer.state.log_history) if "train_runtime" in log)


def _scores(file: Path) -> dict[str, Any]:
    """As `without_prefix`, from a file; null of an absent class becomes NaN."""
    if not file.is_file():
        return {}
    scores = without_prefix(json.loads(file.read_text(encoding="utf-8")))
    return {
        key: math.nan if value is None and key.startswith(("iou_", "accuracy_")) else value
        for key, value in scores.items()
    }
