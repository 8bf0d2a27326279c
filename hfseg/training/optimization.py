"""Parameter groups: head and backbone learning rates, no decay on norms and biases."""

from typing import TYPE_CHECKING, Any

from hfseg.models.loading import backbone_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def parameter_groups(
    model: "PreTrainedModel",
    learning_rate: float,
    weight_decay: float,
    backbone_lr_multiplier: float = 1.0,
    head_lr_multiplier: float = 1.0,
) -> list[dict[str, Any]]:
    """Up to four groups: backbone and head, each with and without weight decay.

    A parameter with one dimension is a bias or the scale of a norm, and is never decayed.
    """
    prefix = backbone_name(model) + "."
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith(prefix), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (backbone_lr_multiplier if in_backbone else head_lr_multiplier),
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (in_backbone, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
