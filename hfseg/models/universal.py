"""Mask2Former and EoMT as semantic segmentation models.

A universal model predicts a class, or "no object", and a mask per query. The score of a class at a
pixel is the sum over the queries of the probability of the class times that of the mask (Cheng et
al. 2021, https://arxiv.org/abs/2107.06278, section 3.4). `act_as_semantic` adds these scores to the
model's output as `logits`, so that training, evaluation and inference treat the model like any
other: resized to the label, the largest score wins.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.utils import ModelOutput

from hfseg.models.logits import resize_logits
from hfseg.models.universal_eomt import EOMT, cut, merge

UNIVERSAL = ("mask2former", *EOMT)
"""The model types that `act_as_semantic` supports."""


class Prediction(NamedTuple):
    """The predictions of the queries of one decoder layer.

    Attributes:
        classes: (B, Q, C + 1) logits, the last one for "no object".
        masks: (B, Q, h, w) logits.
    """

    classes: torch.Tensor
    masks: torch.Tensor


@dataclass
class UniversalSegmenterOutput(SemanticSegmenterOutput):
    """A universal model's output with the scores of the classes.

    Args:
        logits: (B, C, H, W) float32 scores at the size of the image, None in training. They are
            sums of probabilities, not logits: `class_probabilities` normalizes them.
        class_queries_logits, masks_queries_logits, patch_offsets: as the model returned them.
        layers: in training, the prediction of every layer that is supervised, the last one first.
    """

    class_queries_logits: torch.Tensor | None = None
    masks_queries_logits: torch.Tensor | None = None
    patch_offsets: list[torch.Tensor] | None = None
    layers: list[Prediction] | None = None


def is_universal(model: PreTrainedModel) -> bool:
    return model.config.model_type in UNIVERSAL


def class_scores(prediction: Prediction, size: Sequence[int]) -> torch.Tensor:
    """(B, C, H, W) float32: masks resized to `size`, then weighted by their class.

    One image at a time, since the masks of all queries at full size are the largest tensors.
    """
    classes = prediction.classes.float().softmax(-1)[..., :-1]
    scores = [
        torch.einsum("qc,qhw->chw", weights, resize_logits(masks[None].float(), size)[0].sigmoid())
        for weights, masks in zip(classes, prediction.masks, strict=True)
    ]
    return torch.stack(scores)


def class_probabilities(scores: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """Scores divided by their sum over the classes."""
    return scores / scores.sum(dim, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def act_as_semantic(model: PreTrainedModel) -> None:
    """Let a universal model return a `UniversalSegmenterOutput`, and EoMT take any image.

    Other models, and those that already do, are left alone.
    """
    if not is_universal(model) or hasattr(model, "_given_size"):
        return
    model._given_size = None
    if model.config.model_type in EOMT:
        # a partial, so that a deep copy of the model records its own predictions
        model.predict = functools.partial(_predict_and_record, model)
    model.register_forward_pre_hook(_prepare, with_kwargs=True)
    model.register_forward_hook(_add_scores, with_kwargs=True)


def _predict_and_record(
    model: PreTrainedModel, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """EoMT's `predict`; transformers doesn't return the predictions of the earlier blocks."""
    masks, classes = type(model).predict(model, tokens)
    model._recorded.append(Prediction(classes, masks))
    return masks, classes


def _prepare(
    model: PreTrainedModel, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]
) -> tuple[tuple[object, ...], dict[str, object]]:
    if kwargs.get("labels") is not None:
        raise TypeError(f"{type(model).__name__} takes no labels: its loss is `UniversalLoss`")
    images = kwargs["pixel_values"]
    model._given_size = tuple(images.shape[-2:])
    if model.config.model_type not in EOMT:
        return args, {**kwargs, "output_auxiliary_logits": model.training}
    model._recorded = []
    return args, {**kwargs, "pixel_values": cut(images, model)}


def _add_scores(
    model: PreTrainedModel, args: object, kwargs: dict[str, torch.Tensor], output: ModelOutput
) -> UniversalSegmenterOutput:
    names = ("loss", "class_queries_logits", "masks_queries_logits", "patch_offsets")
    given = {name: output.get(name) for name in names}
    last = Prediction(output.class_queries_logits, output.masks_queries_logits)
    if model.training:
        return UniversalSegmenterOutput(**given, layers=[last, *_earlier(model, output)])
    scores = class_scores(last, kwargs["pixel_values"].shape[-2:])
    if model.config.model_type in EOMT:
        scores = merge(scores, model._given_size)
    return UniversalSegmenterOutput(**given, logits=scores)


def _earlier(model: PreTrainedModel, output: ModelOutput) -> list[Prediction]:
    """The predictions before the last one."""
    if model.config.model_type in EOMT:
        recorded, model._recorded = model._recorded[:-1], []
        return recorded
    return [
        Prediction(each["class_queries_logits"], each["masks_queries_logits"])
        for each in output.auxiliary_logits
    ]
