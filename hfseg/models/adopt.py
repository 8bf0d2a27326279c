"""Models that the user built, adapted to the labels they are trained on."""

from transformers import PreTrainedConfig, PreTrainedModel

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models.universal import act_as_semantic


def write_labels(config: PreTrainedConfig, labels: LabelSet) -> None:
    """Put names, colors and the ignored id into a model's config."""
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.palette = [list(color) for color in labels.palette]
    config.loss_ignore_index = labels.ignore_index
    if "semantic_loss_ignore_index" in config.to_dict():
        config.semantic_loss_ignore_index = labels.ignore_index


def adopt_model(model: PreTrainedModel, labels: LabelSet) -> PreTrainedModel:
    """The same model; its config describes `labels`.

    Raises:
        UserError: the head has another number of classes.
    """
    if model.config.num_labels != len(labels):
        raise UserError(
            f"the model has {model.config.num_labels} classes but the dataset has {len(labels)}; "
            "give the name or folder of the model instead, so that its head is replaced"
        )
    write_labels(model.config, labels)
    act_as_semantic(model)
    return model
