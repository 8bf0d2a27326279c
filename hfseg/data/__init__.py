"""Datasets, masks, splits and transforms. A low layer that knows nothing about models."""

from hfseg.data.dataset import load_dataset
from hfseg.data.info import DatasetInfo
from hfseg.data.readers import DATASETS, dataset_info

__all__ = ["DATASETS", "DatasetInfo", "dataset_info", "load_dataset"]
