"""The learning rate of each layer, for a ViT and a Swin, against the formula."""

from typing import Any

import pytest
import torch
from model_tester import LABELS
from tiny_universal import EOMT, MASK2FORMER

from hfseg.errors import UserError
from hfseg.models import load_model
from hfseg.training.layer_decay import layer_numbers
from hfseg.training.optimization import parameter_groups, start_encoder_later


def rates(model: Any, decay: float) -> dict[str, float]:
    """Parameter name -> learning rate, of 1 for the head."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 1.0, 0.05, layer_decay=decay)
    found = {names[id(each)]: group["lr"] for group in groups for each in group["params"]}
    assert len(found) == len(names)
    return found


def test_each_block_of_a_vit_learns_at_its_rate() -> None:
    model, _ = load_model("eomt-vit-small", LABELS, pretrained=False, **EOMT)
    for name, rate in rates(model, 0.8).items():
        if name.startswith("embeddings."):
            expected = 0.8**4
        elif name.startswith("layers."):
            expected = 0.8 ** (3 - int(name.split(".")[1]))
        else:  # head, and the last norm
            expected = 1.0
        assert rate == pytest.approx(expected), name


def test_each_block_of_a_swin_learns_at_its_rate() -> None:
    model, _ = load_model("mask2former-swin-tiny", LABELS, pretrained=False, **MASK2FORMER)
    numbers = {(0, 0): 1, (1, 0): 2, (2, 0): 3, (2, 1): 4, (3, 0): 5}  # depths 1, 1, 2, 1
    downsampling = {0: 1, 1: 2, 2: 4}
    prefix = "model.pixel_level_module.encoder.swin."
    seen = set()
    for name, rate in rates(model, 0.9).items():
        parts = name.removeprefix(prefix).split(".")
        if name.startswith(f"{prefix}embeddings."):
            number = 0
        elif name.startswith(f"{prefix}encoder.layers."):
            stage = int(parts[2])
            number = (
                downsampling[stage] if parts[3] == "downsample" else numbers[stage, int(parts[4])]
            )
        else:
            number = 6
        seen.add(number)
        assert rate == pytest.approx(0.9 ** (6 - number)), name
    assert seen == set(range(7))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("segformer-b1", 8), ("upernet-swin-tiny", 12), ("upernet-convnext-tiny", 18),
        ("unet-mit_b0", 8), ("dpt-tu-vit_small_patch16_dinov3", 12),
    ],
)  # fmt: skip
def test_blocks_of_all_stages_are_counted(name: str, layers: int) -> None:
    with torch.device("meta"):
        model, _ = load_model(name, LABELS, pretrained=False)
    assert set(layer_numbers(model).values()) == set(range(layers + 2))


def test_without_decay_encoder_and_head_share_a_rate() -> None:
    model, _ = load_model("segformer-tiny", LABELS, pretrained=False)
    assert set(rates(model, 1.0).values()) == {1.0}


def test_an_encoder_without_blocks_is_refused() -> None:
    model, _ = load_model("unet-vgg11", LABELS, pretrained=False)
    with pytest.raises(UserError, match="use --backbone_lr_multiplier instead"):
        rates(model, 0.8)


def test_the_encoder_starts_after_the_heads_warm_up() -> None:
    from transformers import get_scheduler

    model, _ = load_model("segformer-tiny", LABELS, pretrained=False)
    optimizer = torch.optim.SGD(parameter_groups(model, 1.0, 0.0))

    def schedule(warmup: int, steps: int) -> Any:
        return get_scheduler("linear", optimizer, num_warmup_steps=warmup, num_training_steps=steps)

    late = schedule(10, 95).lr_lambdas[0]
    scheduler = start_encoder_later(schedule(5, 100), late, delay=5)
    seen = []
    for _ in range(100):
        seen.append({group["in_encoder"]: group["lr"] for group in optimizer.param_groups})
        optimizer.step()
        scheduler.step()
    assert [step[False] for step in seen[:6]] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert [step[True] for step in seen[:6]] == [0] * 6
    assert seen[10][True] == pytest.approx(0.5) and seen[15][True] == pytest.approx(1)
    assert seen[57][True] == pytest.approx((95 - 52) / 85)
