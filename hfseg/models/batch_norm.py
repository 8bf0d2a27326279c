"""Running statistics of batch norms, which predictions are made with."""

from torch import nn

USUAL_MOMENTUM = 0.1
"""Of `torch.nn.BatchNorm2d`: the weight of the last batch in the running statistics."""


def average_over_batches(model: nn.Module) -> int:
    """Let running statistics that follow the last batch alone average over some ten batches.

    MobileNet V1 and V2 of transformers take TensorFlow's decay, 0.997, as the momentum of PyTorch,
    which means the opposite: the statistics are then those of the last batch, and the evaluation
    jumps from one to the next.

    Returns:
        How many batch norms were changed.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.momentum is not None
        and module.momentum > 0.5
    ]
    for norm in norms:
        norm.momentum = USUAL_MOMENTUM
    return len(norms)
