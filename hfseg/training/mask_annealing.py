"""EoMT's masked attention, phased out block by block during training."""

from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerState,
)

POWER = 0.9


def mask_probability(block: int, blocks: int, progress: float) -> float:
    """The probability that the queries of a block attend only to their own masks.

    1 until (block + 1) / (blocks + 2) of the training, 0 after (block + 2) / (blocks + 2), and
    (1 - t)^0.9 between them: the schedule of Kerssies et al. 2025
    (https://arxiv.org/abs/2503.19108, section 3.3 and their configurations of ViT-L).

    Args:
        block: 0 for the first of the masked blocks.
        progress: steps done, as a fraction of all.
    """
    fraction = progress * (blocks + 2) - (block + 1)
    return (1 - min(max(fraction, 0.0), 1.0)) ** POWER


class MaskAnnealing(TrainerCallback):
    """Sets the probabilities for each training step.

    Between steps they are 0, so that the model is evaluated and saved without masks.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.model.attn_mask_probs.zero_()

    def on_step_begin(
        self, args: object, state: TrainerState, *_: object, **kwargs: object
    ) -> None:
        probabilities = self.model.attn_mask_probs
        progress = state.global_step / state.max_steps
        for block in range(len(probabilities)):
            probabilities[block] = mask_probability(block, len(probabilities), progress)

    def on_step_end(self, *_: object, **kwargs: object) -> None:
        self.model.attn_mask_probs.zero_()
