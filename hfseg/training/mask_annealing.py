"""EoMT's masked attention, which training gives up block after block."""

from typing import Any

from transformers import PreTrainedModel, TrainerCallback

POWER = 0.9


def mask_probability(block: int, blocks: int, progress: float) -> float:
    """How often the queries of a block attend to their own masks only.

    1 until (block + 1) / (blocks + 2) of the training are over, 0 after (block + 2) / (blocks + 2),
    between them (1 - t)^0.9: the schedule of Kerssies et al. 2025
    (https://arxiv.org/abs/2503.19108, section 3.3 and their configurations of ViT-L).

    Args:
        block: 0 for the first of the masked blocks.
        progress: steps done, as a fraction of all.
    """
    fraction = progress * (blocks + 2) - (block + 1)
    return (1 - min(max(fraction, 0.0), 1.0)) ** POWER


class MaskAnnealing(TrainerCallback):
    """Sets the probabilities for each training step.

    Between steps they are 0: what is evaluated and saved runs without masks.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.model.attn_mask_probs.zero_()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        probabilities = self.model.attn_mask_probs
        progress = state.global_step / state.max_steps
        for block in range(len(probabilities)):
            probabilities[block] = mask_probability(block, len(probabilities), progress)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.model.attn_mask_probs.zero_()
