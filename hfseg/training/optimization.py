"""Parameter groups (head and backbone learning rates, no decay on norms and biases), and the
learning-rate schedules that change once per epoch."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from hfseg.models.loading import in_encoder
from hfseg.training.layer_decay import layer_numbers

ADAM = "adam"
"""`torch.optim.Adam`: weight decay is part of the gradient (L2), unlike in AdamW."""

EPOCH_SCHEDULES = ("step", "exponential")
_GAMMA = {"step": 0.1, "exponential": 0.98}
_STEP_SIZE = 10


def parameter_groups(
    model: PreTrainedModel,
    learning_rate: float,
    weight_decay: float,
    backbone_lr_multiplier: float = 1.0,
    head_lr_multiplier: float = 1.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups by learning rate (encoder and head, or with `layer_decay` every layer of the encoder)
    and by weight decay.

    A parameter with one dimension is a bias or the scale of a norm, and is never decayed.

    Raises:
        UserError: `layer_decay` for an encoder without numbered blocks.
    """
    encoder = in_encoder(model)
    numbers = layer_numbers(model) if layer_decay != 1.0 else {}
    last = max(numbers.values(), default=0)
    groups: dict[tuple[bool, int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (encoder(name), numbers.get(name, last), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate
            * (backbone_lr_multiplier if in_backbone else head_lr_multiplier)
            * layer_decay ** (last - number),
            "weight_decay": weight_decay if decayed else 0.0,
            "in_encoder": in_backbone,
        }
        for (in_backbone, number, decayed), parameters in sorted(groups.items(), key=itemgetter(0))
    ]


def start_encoder_later(scheduler: LambdaLR, late: Callable[[int], float], delay: int) -> LambdaLR:
    """The same schedule for the head; the encoder waits for `delay` steps and then follows `late`.

    As in the two-stage warm-up of EoMT (Kerssies et al. 2025, https://arxiv.org/abs/2503.19108).
    """

    def delayed(step: int) -> float:
        return late(step - delay) if step >= delay else 0.0

    groups = scheduler.optimizer.param_groups
    usual = scheduler.lr_lambdas[0]
    return LambdaLR(
        scheduler.optimizer, [delayed if group["in_encoder"] else usual for group in groups]
    )


def epoch_schedule(
    name: str,
    steps_per_epoch: int,
    warmup_steps: int = 0,
    gamma: float | None = None,
    step_size: int | None = None,
) -> Callable[[int], float]:
    """Factor on the learning rate at an optimizer step, as torch's `StepLR` and `ExponentialLR`.

    Args:
        name: `step`: times `gamma` (0.1) every `step_size` (10) epochs; `exponential`: times
            `gamma` (0.98) every epoch.
        steps_per_epoch: optimizer steps of an epoch.
        warmup_steps: steps of a linear warm-up, multiplied with the schedule.
    """
    rate = _GAMMA[name] if gamma is None else gamma
    epochs = 1 if name == "exponential" else step_size or _STEP_SIZE

    def factor(step: int) -> float:
        warmup = min(1.0, (step + 1) / (warmup_steps + 1))
        return warmup * rate ** (step // steps_per_epoch // epochs)

    return factor
