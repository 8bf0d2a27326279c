"""Settings that follow from the data and the model, for recipes that `choose` them.

Each rule gives a value and its reason; docs/recipes.md lists them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from torch import nn
from transformers import PreTrainedModel

from hfseg.labels import LabelSet
from hfseg.models.loading import encoder_parts
from hfseg.models.universal import is_universal
from hfseg.models.universal_eomt import EOMT, side_of
from hfseg.training.class_weights import count_classes

_LOOKED_AT = 200
"""Images and masks that are read for the facts, spread evenly over the split."""
_EPOCHS, _LEAST_STEPS, _MOST_STEPS, _EVALUATIONS = 50, 1000, 40_000, 20
_CROP, _STRIDE = 512, 32
_RARE = 0.01
"""A class with a smaller fraction of the pixels is rare."""


@dataclass(frozen=True)
class Facts:
    """What the rules depend on.

    Attributes:
        images: in the training split.
        images_per_step: on all devices together.
        side: nine tenths of the images have no shorter side than this.
        rarest: name and fraction of the pixels of the rarest class that occurs.
        fixed_side: of the squares that the model trains on, if it takes no others.
        pretrained: whether the encoder has trained weights.
        batch_norm: whether the encoder normalizes over batches, as most CNNs do.
        own_loss: whether the model has a loss of its own.
    """

    images: int
    images_per_step: int
    side: int
    rarest: tuple[str, float]
    fixed_side: int | None
    pretrained: bool
    batch_norm: bool
    own_loss: bool = False


@dataclass(frozen=True)
class Choice:
    """Flag -> value, and why."""

    values: dict[str, Any]
    why: str


def facts(
    train: datasets.Dataset,
    labels: LabelSet,
    model: PreTrainedModel,
    images_per_step: int,
    pretrained: bool,
) -> Facts:
    """The facts of a training split and a model."""
    wanted = np.linspace(0, len(train) - 1, min(len(train), _LOOKED_AT)).round().astype(int)
    sample = train.select(wanted)
    sides = [min(row["image"].size) for row in sample.select_columns("image")]
    pixels = count_classes(sample, len(labels)).pixels
    present = np.flatnonzero(pixels)
    rarest = present[pixels[present].argmin()] if len(present) else 0
    encoder = [module for part in encoder_parts(model).values() for module in part.modules()]
    return Facts(
        images=len(train),
        images_per_step=images_per_step,
        side=int(np.quantile(sides, 0.1)),
        rarest=(labels.names[rarest], float(pixels[rarest] / max(1, pixels.sum()))),
        fixed_side=side_of(model.config) if model.config.model_type in EOMT else None,
        pretrained=pretrained,
        batch_norm=any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in encoder),
        own_loss=is_universal(model),
    )


def _steps(found: Facts) -> Choice:
    epoch = -(-found.images // found.images_per_step)
    steps = min(max(_EPOCHS * epoch, _LEAST_STEPS), _MOST_STEPS)
    every = max(1, steps // _EVALUATIONS)
    limit = {_LEAST_STEPS: "the fewest", _MOST_STEPS: "the most"}.get(steps, f"{_EPOCHS} epochs")
    passes = steps * found.images_per_step / max(1, found.images)
    values = {"max_steps": steps, "eval_steps": every, "save_steps": every}
    return Choice(
        values | {"eval_strategy": "steps", "save_strategy": "steps"},
        f"{limit}: each of {found.images} images about {passes:.0f} times; --max_steps or "
        "--time_budget 30m changes it",
    )


def _crop(found: Facts) -> Choice:
    if found.fixed_side is not None:
        return Choice({"crop_size": str(found.fixed_side)}, "the model trains on no other squares")
    side = max(_STRIDE, min(_CROP, found.side // _STRIDE * _STRIDE))
    return Choice({"crop_size": str(side)}, f"most images have no side under {found.side}")


def _rate(found: Facts) -> Choice:
    if not found.pretrained:
        return Choice({"learning_rate": 1e-3, "head_lr_multiplier": 1.0}, "all weights are random")
    if found.batch_norm:
        return Choice(
            {"learning_rate": 5e-4, "head_lr_multiplier": 4.0}, "a pretrained CNN, a random head"
        )
    return Choice(
        {"learning_rate": 6e-5, "head_lr_multiplier": 10.0},
        "a pretrained encoder with layer norm, a random head",
    )


def _loss(found: Facts) -> Choice:
    if found.own_loss:
        return Choice({"loss": "ce"}, "for scores; the model trains with a loss of its own")
    name, fraction = found.rarest
    if fraction < _RARE:
        return Choice({"loss": "ce+dice"}, f"{name} has only {100 * fraction:.2g} % of the pixels")
    return Choice(
        {"loss": "ce"}, f"the rarest class, {name}, has {100 * fraction:.2g} % of the pixels"
    )


RULES: dict[str, Callable[[Facts], Choice]] = {
    "max_steps": _steps,
    "crop_size": _crop,
    "learning_rate": _rate,
    "loss": _loss,
}
"""What a recipe can list under `choose`."""

EVALUATED_AT = ("eval_strategy", "eval_steps", "save_strategy", "save_steps")
"""When the model is evaluated and saved: one of these flags, if given, decides all."""

CHOSEN_FLAGS: dict[str, tuple[str, ...]] = {
    "max_steps": ("max_steps", *EVALUATED_AT),
    "crop_size": ("crop_size",),
    "learning_rate": ("learning_rate", "head_lr_multiplier"),
    "loss": ("loss",),
}
"""Rule -> the flags that it sets."""

DECIDED_BY: dict[str, tuple[str, ...]] = {
    "max_steps": ("num_train_epochs", "time_budget"),
    "crop_size": ("image_size",),
    "learning_rate": ("head_lr_multiplier",),
    "loss": (),
}
"""Rule -> other flags that, if given, leave it nothing to choose."""
