"""Freezing parts of a model."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from hfseg.models.loading import encoder_parts


def freeze_encoder(model: PreTrainedModel) -> None:
    """Train the head only: the encoder gets no gradient and stays in evaluation mode."""
    parts = list(encoder_parts(model).values())
    for part in parts:
        part.requires_grad_(False)
    _keep_in_evaluation(model, parts)


def freeze_batch_norm(model: PreTrainedModel) -> int:
    """Keep the statistics, scales and shifts of every batch norm as they are: for small batches.

    Returns:
        How many there are.
    """
    norms = [module for module in model.modules() if isinstance(module, _BATCH_NORMS)]
    for norm in norms:
        norm.requires_grad_(False)
    _keep_in_evaluation(model, norms)
    return len(norms)


_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def _keep_in_evaluation(model: PreTrainedModel, modules: Sequence[nn.Module]) -> None:
    """Even after `model.train()`, which the trainer calls before every step."""
    model.register_forward_pre_hook(partial(_to_evaluation, modules))


def _to_evaluation(modules: Sequence[nn.Module], *_: object) -> None:
    for module in modules:
        if module.training:
            module.eval()


class Probe:
    """What the forward pass of a small image reveals about a model.

    Attributes:
        unused: names of the parameters that no output depends on; DistributedDataParallel would
            wait for their gradients.
        pools_to_one_pixel: whether a batch norm sees a map of one pixel (the image pooling of
            DeepLabV3 or UperNet), so that training needs at least two images per batch.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.pools_to_one_pixel = False
        norms = [module for module in model.modules() if isinstance(module, _BATCH_NORMS)]
        hooks = [norm.register_forward_pre_hook(self._look) for norm in norms]
        training = model.training
        model.eval()
        try:
            with torch.enable_grad():
                logits = model(pixel_values=torch.zeros(1, 3, *_small_size(model))).logits
        finally:
            model.train(training)
            for hook in hooks:
                hook.remove()
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(logits.sum(), list(named.values()), allow_unused=True)
        self.unused = [
            name
            for name, gradient in zip(named, gradients, strict=True)
            if gradient is None and not name.startswith("auxiliary_head.")
        ]

    def _look(self, norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if norm.weight is None or norm.weight.requires_grad:
            self.pools_to_one_pixel |= tuple(inputs[0].shape[2:]) == (1, 1)


def _small_size(model: PreTrainedModel) -> tuple[int, int]:
    """128 x 128, or the only size of a transformer with fixed position embeddings."""
    if model.config.model_type in ("beit", "data2vec-vision", "dpt"):
        size = model.config.image_size
        return (size, size) if isinstance(size, int) else tuple(size)
    return 128, 128
