"""Data sets, masks, splits and transforms. The lowest layer: it knows nothing of models."""

from hfseg.data.registry import DATASETS, load_dataset

__all__ = ["DATASETS", "load_dataset"]
