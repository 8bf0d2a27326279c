"""What FSDP 2 needs of a model."""

from transformers import PreTrainedModel


def make_divisible(model: PreTrainedModel) -> None:
    """Let accelerate divide a model that has no input embeddings.

    It asks every model for them, to keep them apart, and those without raise an error.
    """
    try:
        model.get_input_embeddings()
    except NotImplementedError:
        model.get_input_embeddings = lambda: None
