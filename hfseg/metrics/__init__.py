"""Metrics: counts on the device, and mean IoU as an `evaluate` module.

`MEAN_IOU` is the path for `evaluate.load`; the functions are imported on first use.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

MEAN_IOU: str = str(Path(__file__).parent / "mean_iou")
"""The folder of the `evaluate` module: `evaluate.load(MEAN_IOU)`."""

_HOMES = {
    "confusion_matrix": "hfseg.metrics.confusion",
    "confusion_matrix_per_image": "hfseg.metrics.confusion",
    "scores": "hfseg.metrics.confusion",
}

__all__ = ["MEAN_IOU", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hfseg.metrics' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
