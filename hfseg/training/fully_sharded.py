"""What FSDP 2 needs of a model."""

from transformers import PreTrainedModel

LAYERS = {
    "mobilenet_v2": {"MobileNetV2InvertedResidual"},
    "mask2former": {
        "SwinStage",
        "Mask2FormerPixelDecoderEncoderLayer",
        "Mask2FormerMaskedAttentionDecoderLayer",
    },
}
"""Classes that are divided each for itself, of models that name none (`_no_split_modules`)."""


def make_divisible(model: PreTrainedModel) -> None:
    """Let accelerate divide a model that has no input embeddings or names no layer classes.

    It asks every model for its embeddings, to keep them apart, and those without raise an error.
    """
    try:
        model.get_input_embeddings()
    except NotImplementedError:
        model.get_input_embeddings = lambda: None
    if not model._no_split_modules:
        present = {type(module).__name__ for module in model.modules()}
        model._no_split_modules = LAYERS.get(model.config.model_type, set()) & present
