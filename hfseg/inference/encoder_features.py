"""What a model's encoder sees in an image, as one vector."""

from types import TracebackType
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from hfseg.errors import UserError
from hfseg.models.loading import encoder_parts

_NAMES = ("feature_maps", "last_hidden_state", "encoder_last_hidden_state")


class EncoderFeatures:
    """Pools the last feature map of the encoder during every prediction inside the `with` block.

    Args:
        model: of a `Segmenter`; its answers don't change.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._name = type(model).__name__
        self._part = list(encoder_parts(model).values())[-1]
        self._pooled: list[torch.Tensor] = []

    def __enter__(self) -> "EncoderFeatures":
        self._hook = self._part.register_forward_hook(self._keep)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hook.remove()

    def _keep(self, module: torch.nn.Module, inputs: object, output: Any) -> None:
        found = _last_map(output)
        if found is not None:  # (N, C, h, w), or (N, L, C) of a transformer
            dims = (2, 3) if found.ndim == 4 else (1,)
            self._pooled.append(found.float().mean(dims).mean(0).cpu())

    def take(self) -> np.ndarray:
        """(D,) float32 of unit length: the mean over the tiles and views since the last call.

        Raises:
            UserError: the encoder returned no feature map.
        """
        if not self._pooled:
            raise UserError(
                f"{self._name}: the features of its encoder were not found; give --candidates 1, "
                "which ranks by uncertainty alone"
            )
        mean = torch.stack(self._pooled).double().mean(0)
        self._pooled.clear()
        length = mean.norm()  # tiny where weights are random
        return (mean / length if length else mean).float().numpy()


def _last_map(output: Any) -> torch.Tensor | None:
    """The last feature map in what an encoder returns."""
    if isinstance(output, torch.Tensor):
        return output if output.ndim in (3, 4) else None
    for name in _NAMES:
        if getattr(output, name, None) is not None:
            return _last_map(getattr(output, name))
    return _last_map(output[-1]) if isinstance(output, list | tuple) and output else None
