"""From images to masks: `Segmenter`."""

from hfseg.inference.segmenter import Segmentation, Segmenter

__all__ = ["Segmentation", "Segmenter"]
