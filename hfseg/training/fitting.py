"""Adapts a training run to its model, before the first step."""

import logging

from transformers import PreTrainedModel, TrainingArguments

from hfseg.errors import UserError
from hfseg.models.freezing import Probe

logger = logging.getLogger("hfseg")


def fit_training_to_model(
    training: TrainingArguments, model: PreTrainedModel, samples: int
) -> bool:
    """Freeze the parameters that no output depends on, and check the batches of a run.

    Args:
        samples: number of training images.

    Returns:
        Whether the last batch of an epoch has to be dropped: it would be one image, which a batch
        norm after image pooling can't train on.

    Raises:
        UserError: batches of one image for a model that can't train on them, or gradient
            checkpointing for a model that does not support it.
    """
    if training.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise UserError(
            f"--gradient_checkpointing: {type(model).__name__} does not support it with this "
            "encoder; leave the flag out"
        )
    probe = Probe(model)
    for name in probe.unused:
        model.get_parameter(name).requires_grad_(False)
    if not probe.pools_to_one_pixel:
        return False
    batch = training.train_batch_size
    if batch == 1 or samples == 1:
        raise UserError(
            f"{type(model).__name__} pools the image to one pixel before a batch norm, so it "
            "can't train on batches of one image; use --per_device_train_batch_size 2 and at least "
            "two images, or --freeze_batch_norm with pretrained weights"
        )
    if training.auto_find_batch_size:  # whatever the batch turns out to be
        return True
    # with several processes accelerate completes the last batch with the first samples
    drop_last = training.world_size == 1 and samples % batch == 1
    if drop_last and not training.dataloader_drop_last:
        logger.warning(
            "the last batch of an epoch would be a single image, which the batch norm after image "
            "pooling can't train on, so it is dropped (%d images in batches of %d)",
            samples,
            batch,
        )
    return drop_last
