"""Auxiliary heads: their logits, which transformers computes and then drops."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfseg.models.modeling_smp import AuxiliarySegmenterOutput
from hfseg.models.universal import UniversalSegmenterOutput


def expose_auxiliary_logits(model: PreTrainedModel) -> None:
    """Let a model with an `auxiliary_head` return `auxiliary_logits` in training.

    transformers' UperNet, BEiT, Data2Vec and DPT use them only for their own loss. In the output,
    where DistributedDataParallel finds what the backward pass will need, they can be part of any
    loss.
    """
    head = getattr(model, "auxiliary_head", None)
    if head is None:
        return
    caught: list[torch.Tensor] = []

    def catch(module: nn.Module, inputs: object, logits: torch.Tensor) -> None:
        caught[:] = [logits] if module.training else []

    def add(module: nn.Module, inputs: object, output: ModelOutput) -> ModelOutput:
        logits = caught.pop() if caught else None
        if logits is None or "auxiliary_logits" in output:
            return output
        return AuxiliarySegmenterOutput(**output, auxiliary_logits=logits)

    head.register_forward_hook(catch)
    model.register_forward_hook(add)


def supervised(output: ModelOutput, auxiliary_weight: float) -> list[tuple[Any, float]]:
    """The parts of a model's output that have a loss, each with the weight of its loss.

    The logits, and those of an auxiliary head at `auxiliary_weight`; for a universal model the
    predictions of all layers, weighted equally.
    """
    if isinstance(output, UniversalSegmenterOutput) and output.layers is not None:
        return [(prediction, 1.0) for prediction in output.layers]
    parts = [(output.logits, 1.0)]
    if output.get("auxiliary_logits") is not None:
        parts.append((output.auxiliary_logits, auxiliary_weight))
    return parts


def auxiliary_loss_weight(model: PreTrainedModel) -> float:
    """The weight of the auxiliary head's loss, from the model's config."""
    return float(getattr(model.config, "auxiliary_loss_weight", 0.4))
