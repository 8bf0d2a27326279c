"""Models: names, weights, and the segmentation_models_pytorch architectures.

Importing it registers `SmpForSemanticSegmentation` with transformers' Auto classes.
"""

from transformers import AutoConfig, AutoModelForSemanticSegmentation

from hfseg.models.build import load_model
from hfseg.models.catalog import NAMED_MODELS, NamedModel, find_model
from hfseg.models.configuration_smp import SmpConfig
from hfseg.models.modeling_smp import SmpForSemanticSegmentation
from hfseg.models.torchvision_weights import from_torchvision

__all__ = [
    "NAMED_MODELS",
    "NamedModel",
    "SmpConfig",
    "SmpForSemanticSegmentation",
    "find_model",
    "from_torchvision",
    "load_model",
]

AutoConfig.register(SmpConfig.model_type, SmpConfig, exist_ok=True)
AutoModelForSemanticSegmentation.register(SmpConfig, SmpForSemanticSegmentation, exist_ok=True)
