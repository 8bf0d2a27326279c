"""The Segment Anything family: masks without classes, and their combination with a semantic model.

SAM answers "which pixels belong together?", not "what is this?". `SamPredictor` runs it, and
`refinement` combines its boundaries with the classes of a semantic prediction. The names below are
imported on first use.
"""

from importlib import import_module

_HOMES = {
    "SamMasks": "hfseg.sam.masks",
    "Prompt": "hfseg.sam.masks",
    "SamPredictor": "hfseg.sam.predictor",
    "prompts_from_mask": "hfseg.sam.regions",
    "mask_recall": "hfseg.sam.regions",
    "refine_by_prompts": "hfseg.sam.refinement",
    "refine_by_votes": "hfseg.sam.refinement",
    "oracle": "hfseg.sam.refinement",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hfseg.sam' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
