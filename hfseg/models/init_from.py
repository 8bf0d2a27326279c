"""`--init_from`: a model starts with the weights of a trained one, all of them or the encoder's."""

import logging

import torch
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models.build import load_model
from hfseg.models.catalog import IMAGENET_MEAN, IMAGENET_STD
from hfseg.models.encoder_weights import load_encoder_weights
from hfseg.models.image_processors import carry_over
from hfseg.models.loading import encoder_parts

logger = logging.getLogger("hfseg")


def start_from(
    model: PreTrainedModel, source: str, labels: LabelSet, trust_remote_code: bool = False
) -> BaseImageProcessor:
    """Put the weights of a trained segmentation model into `model`.

    All of them where the two are built alike, with what the head knows of classes of the same name;
    otherwise those of the encoder.

    Args:
        model: for `labels`, with random weights.
        source: folder or Hub id of any checkpoint that `hfseg evaluate` takes.

    Returns:
        The image processor of `model`, with the pixels that the weights were trained with.

    Raises:
        UserError: no such checkpoint, or one with another encoder.
    """
    trained, processor = load_model(source, labels, trust_remote_code=trust_remote_code)
    if _shapes(trained) == _shapes(model):
        model.load_state_dict(trained.state_dict())
        logger.info("--init_from %s: the whole model", source)
    else:
        _copy_encoder(trained, model, source)
        logger.info("--init_from %s: the encoder; the head starts at random", source)
    return carry_over(processor, model, (IMAGENET_MEAN, IMAGENET_STD))


def _copy_encoder(trained: PreTrainedModel, model: PreTrainedModel, source: str) -> None:
    theirs, ours = encoder_parts(trained), encoder_parts(model)
    if len(ours) == len(theirs) == 1:
        (encoder,) = theirs.values()
        load_encoder_weights(model, encoder.state_dict(), f"--init_from {source}")
    elif {name: _shapes(part) for name, part in theirs.items()} == {
        name: _shapes(part) for name, part in ours.items()
    }:
        for name, part in theirs.items():
            ours[name].load_state_dict(part.state_dict())
    else:
        raise UserError(
            f"--init_from {source}: its encoder differs from that of this {type(model).__name__}; "
            "start from a model with the same encoder in the same size"
        )


def _shapes(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}
