"""Layer-wise learning-rate decay: the earlier a layer of the encoder, the slower it learns.

Bao et al. 2022 (https://arxiv.org/abs/2106.08254): with L blocks, block i learns at `decay ** (L +
1 - i)` times the rate. The embeddings count as block 0, the head and the norms after the last block
as block L + 1. In encoders with stages (Swin, SegFormer) the blocks are numbered across stages, and
layers between two stages belong to the block before them.
"""

import re

from transformers import PreTrainedModel

from hfseg.errors import UserError
from hfseg.models.loading import in_encoder

# `layers.3.`, or with stages `layers.2.blocks.1.`, `block2.1.`
_BLOCK = re.compile(r"\b(?:layers?|blocks?|stages)\.?(\d+)\.(?:(?:layers?|blocks?)\.)?(?:(\d+)\.)?")
_STAGE = re.compile(r"\b(?:stages|layers|patch_embed|norm)\.?(\d+)\.")
_BEFORE_STAGE = re.compile(r"patch_embed|downsampling_layer")
_EMBEDDINGS = re.compile(r"embed|token|stem")


def layer_numbers(model: PreTrainedModel) -> dict[str, int]:
    """Parameter name -> 0 for embeddings, 1 to L for the blocks, L + 1 for the head.

    Raises:
        UserError: an encoder without numbered blocks.
    """
    names = [name for name, _ in model.named_parameters()]
    encoder = list(filter(in_encoder(model), names))
    blocks = _blocks(encoder)
    if not blocks:
        raise UserError(
            f"--layer_decay: the encoder of {type(model).__name__} has no numbered blocks; use "
            "--backbone_lr_multiplier instead"
        )
    numbers = {block: index for index, block in enumerate(blocks, 1)}
    after = len(blocks) + 1
    return dict.fromkeys(names, after) | {name: _number(name, numbers) for name in encoder}


def _blocks(names: list[str]) -> list[tuple[int, ...]]:
    """(stage, block), or (block,) where there are no stages, in order."""
    found = set(filter(None, map(_block, names)))
    depth = max(map(len, found), default=0)
    return sorted(block for block in found if len(block) == depth)


def _block(name: str) -> tuple[int, ...] | None:
    match = _BLOCK.search(name)
    return tuple(map(int, filter(None, match.groups()))) if match else None


def _number(name: str, numbers: dict[tuple[int, ...], int]) -> int:
    block = _block(name)
    if block in numbers:
        return numbers[block]
    if stage := _STAGE.search(name):
        inside = [number for key, number in numbers.items() if key[0] == int(stage[1])]
        return min(inside) - 1 if _BEFORE_STAGE.search(name) else max(inside)
    return 0 if _EMBEDDINGS.search(name) else len(numbers) + 1
