"""The rule that aligns logits with pixels, the same in training, evaluation and inference."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F


def resize_logits(logits: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(B, C, h, w) -> (B, C, H, W): bilinear, `align_corners=False`."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
