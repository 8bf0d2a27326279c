"""A model object of the user's own, made to know the labels it is trained on."""

from typing import TYPE_CHECKING, Any

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models.universal import act_as_semantic

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def write_labels(config: Any, labels: LabelSet) -> None:
    """Put names, colors and the ignored id into a model's config."""
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.palette = [list(color) for color in labels.palette]
    config.loss_ignore_index = labels.ignore_index
    if "semantic_loss_ignore_index" in config.to_dict():
        config.semantic_loss_ignore_index = labels.ignore_index


def adopt_model(model: "PreTrainedModel", labels: LabelSet) -> "PreTrainedModel":
    """The model, its config describing `labels`.

    Raises:
        UserError: the head has another number of classes.
    """
    if model.config.num_labels != len(labels):
        raise UserError(
            f"the model has {model.config.num_labels} classes but the dataset has {len(labels)}; "
            "give the name or folder of the model instead, and its head is replaced"
        )
    write_labels(model.config, labels)
    act_as_semantic(model)
    return model
