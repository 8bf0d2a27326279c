"""Stops a training whose loss is not a number, and says where it began."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, TrainerState

from hfseg.data.rows import sample_names
from hfseg.data.samples import TrainingSamples
from hfseg.errors import UserError
from hfseg.training.checkpoints import list_checkpoints

_TOLERATED_IN_FP16 = 20
"""Steps in a row: the loss scaler leaves out a step whose gradients overflow, and goes on."""
_UNREAD = 16
_SHOWN = 8


class _Batch(NamedTuple):
    loss: torch.Tensor
    images: torch.Tensor
    step: int  # from 1


class DivergenceCheck:
    """Looks at the loss of every batch.

    Reading a loss makes a GPU wait, so there it is read every 16 batches and before a checkpoint is
    saved; on a CPU at once.

    Args:
        fp16: the loss is scaled, so that single overflows are normal.
    """

    def __init__(self, fp16: bool) -> None:
        self._tolerated = _TOLERATED_IN_FP16 if fp16 else 0
        self._in_a_row = 0
        self._unread: list[_Batch] = []
        self._previous: list[torch.Tensor] = []  # images of the step before
        self._current: list[torch.Tensor] = []
        self._step = -1

    def note(
        self,
        loss: torch.Tensor,
        index: torch.Tensor,
        model: PreTrainedModel,
        dataset: Any,
        state: TrainerState,
        output_dir: str | Path,
    ) -> None:
        """Note a batch, and `check` if it is time.

        Args:
            loss: a scalar.
            index: (B,) of the images in `dataset`.

        Raises:
            UserError: see `check`.
        """
        if state.global_step != self._step:
            self._previous, self._current, self._step = self._current, [], state.global_step
        self._current.append(index)
        self._unread.append(_Batch(loss.detach(), index, state.global_step + 1))
        if loss.device.type == "cpu" or len(self._unread) >= _UNREAD:
            self.check(model, dataset, state, output_dir)

    def check(
        self, model: PreTrainedModel, dataset: Any, state: TrainerState, output_dir: str | Path
    ) -> None:
        """Stop if a loss that was noted is not finite.

        Raises:
            UserError: with the step, the images, and the checkpoints that are left.
        """
        if not self._unread:
            return
        batches, self._unread = self._unread, []
        losses = torch.stack([batch.loss for batch in batches]).tolist()
        for loss, batch in zip(losses, batches, strict=True):
            self._in_a_row = 0 if math.isfinite(loss) else self._in_a_row + 1
            if self._in_a_row > self._tolerated:
                # weights tell where it began only if they were not updated with this loss
                at_once = len(batches) == 1 and not _all_finite(model)
                raise UserError(
                    f"{self._what(loss, batch, at_once, dataset)} --learning_rate and keep "
                    f"--max_grad_norm at 1; {_what_is_left(Path(output_dir), state)}"
                )

    def _what(self, loss: float, batch: _Batch, weights: bool, dataset: Any) -> str:
        if weights:
            images = _names(dataset, self._previous)
            return f"step {batch.step - 1} left weights that are not finite{images}: lower"
        images = _names(dataset, [batch.images])
        return (
            f"the loss is {loss:g} in step {batch.step}{images}: look at these images and their "
            "masks (hfseg inspect), or lower"
        )


def _all_finite(model: PreTrainedModel) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in model.parameters())


def _names(dataset: Any, batches: Sequence[torch.Tensor]) -> str:
    """` (a.png, b.png)`; nothing for a stream, whose images have no numbers."""
    if not isinstance(dataset, TrainingSamples):
        return ""
    names = sample_names(dataset.data, "train")
    found = [names[index] for batch in batches for index in batch.tolist()]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f" ({', '.join(found[:_SHOWN])}{more})" if found else ""


def _what_is_left(folder: Path, state: TrainerState) -> str:
    best, checkpoints = state.best_model_checkpoint, list_checkpoints(folder)
    if best is not None:
        return f"the best checkpoint is kept: {best}"
    if checkpoints:
        return f"the last checkpoint is kept: {checkpoints[-1]}"
    return "there is no checkpoint yet"
