"""hfseg: fine-tune, measure and share semantic segmentation models on the Hugging Face stack.

The public names are imported on first use, so that `import hfseg` stays quick. After it, models
trained with hfseg load through transformers' Auto classes.
"""

from importlib import import_module
from typing import Any

from hfseg.registration import register_with_transformers

__version__ = "0.1.0"

_HOMES = {
    "finetune": "hfseg.api",
    "evaluate": "hfseg.api",
    "predict": "hfseg.api",
    "LabelSet": "hfseg.labels",
    "UserError": "hfseg.errors",
    "load_dataset": "hfseg.data",
    "load_model": "hfseg.models",
    "MEAN_IOU": "hfseg.metrics",
    "SegmentationTrainer": "hfseg.training.trainer",
    "Segmenter": "hfseg.inference",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hfseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


register_with_transformers()
