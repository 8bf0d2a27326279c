"""Fine-tuning a trained model keeps the rows of its head for classes of the same name."""

import copy

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from hfseg.errors import UserError
from hfseg.labels import LabelSet, plain_name


def same_classes(before: LabelSet, after: LabelSet) -> dict[int, int]:
    """Id in `after` -> id in `before`, of classes whose names match as in evaluation."""
    known = {plain_name(name): index for index, name in enumerate(before.names)}
    names = {index: plain_name(name) for index, name in enumerate(after.names)}
    return {index: known[name] for index, name in names.items() if name in known}


def trained_labels(config: PreTrainedConfig) -> LabelSet | None:
    """The classes that a checkpoint names; None if it names none, or too many for a mask."""
    try:
        labels = LabelSet.from_config(config)
    except UserError:
        return None
    return None if labels.unnamed else labels


def with_labels(config: PreTrainedConfig, labels: LabelSet) -> PreTrainedConfig:
    """A copy of the config that describes `labels`."""
    config = copy.deepcopy(config)
    config.id2label, config.label2id = labels.id2label, labels.label2id
    return config


def carry_over(
    trained: PreTrainedModel, config: PreTrainedConfig, before: LabelSet, after: LabelSet
) -> PreTrainedModel:
    """The trained model with a head for other labels, in which the same classes keep their rows.

    A new class gets the mean of all trained rows. Its logit is then the mean of theirs, never
    above the largest: until it is trained, it takes no pixel from the classes that are kept.

    Rows after those of the classes, such as "no object", are kept too.

    Args:
        trained: a model for the labels `before`.
        config: its config, describing the labels `after`.
    """
    model = type(trained)(config).to(trained.dtype).eval()
    kept, state = same_classes(before, after), trained.state_dict()
    for name in class_tensors(trained):
        rows, others = state[name][: len(before)], state[name][len(before) :]
        new = [rows[kept[index]] if index in kept else rows.mean(0) for index in range(len(after))]
        state[name] = torch.cat([torch.stack(new), others])
    model.load_state_dict(state, strict=True)
    return model


def class_tensors(model: PreTrainedModel) -> set[str]:
    """Names of the tensors with one row per class: their shape depends on the number of classes."""
    larger = copy.deepcopy(model.config)
    larger.id2label = {index: str(index) for index in range(model.config.num_labels + 1)}
    with torch.device("meta"):
        other = type(model)(larger).state_dict()
    return {
        name for name, tensor in model.state_dict().items() if tensor.shape != other[name].shape
    }
