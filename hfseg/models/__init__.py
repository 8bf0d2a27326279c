"""Models: names, weights, and the segmentation_models_pytorch architectures."""

from hfseg.models.catalog import NAMED_MODELS, NamedModel
from hfseg.models.registry import load_model

__all__ = ["NAMED_MODELS", "NamedModel", "load_model"]
