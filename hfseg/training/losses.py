"""Losses over logits at the label's own size."""

import torch
from torch.nn import functional as F

from hfseg.models.logits import resize_logits


def cross_entropy_sum(
    logits: torch.Tensor, labels: torch.Tensor, ignore_index: int, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Cross-entropy summed over the pixels that count, in float32.

    Args:
        logits: (B, C, h, w); resized to the labels.
        labels: (B, H, W) int64.
    """
    logits = resize_logits(logits.float(), labels.shape[-2:])
    return F.cross_entropy(
        logits,
        labels,
        ignore_index=ignore_index,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
