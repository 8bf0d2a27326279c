"""From images to masks: `Segmenter`."""

from hfseg.inference.result import Segmentation
from hfseg.inference.segmenter import Segmenter

__all__ = ["Segmentation", "Segmenter"]
