"""Data sets, masks, splits and transforms. The lowest layer: it knows nothing of models."""

from hfseg.data.info import DatasetInfo, dataset_info
from hfseg.data.registry import DATASETS, load_dataset

__all__ = ["DATASETS", "DatasetInfo", "dataset_info", "load_dataset"]
