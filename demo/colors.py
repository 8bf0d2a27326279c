"""Colors of several models side by side: each class has the same one in all of them."""

from collections.abc import Iterable, Sequence

import numpy as np

from hfseg.labels import Color, LabelSet, default_palette

_BACKGROUND = ("background", "void", "unlabeled", "unlabelled", "ignore", "ignored", "other")
_ALIKE = 40.0
"""Distance in RGB below which two colors look alike."""


def shared_colors(label_sets: Iterable[LabelSet]) -> list[LabelSet]:
    """The label sets with one color for each name.

    The first set that has a name defines its color. A color too close to that of another class is
    replaced by the most different one of `default_palette`.
    """
    colors: dict[str, Color] = {}
    shared = []
    for labels in label_sets:
        for name, color in zip(labels.names, labels.palette, strict=True):
            if name not in colors:
                colors[name] = _distinct(color, list(colors.values()))
        palette = tuple(colors[name] for name in labels.names)
        shared.append(LabelSet(labels.names, palette, labels.ignore_index))
    return shared


def is_background(name: str) -> bool:
    """Whether a class is background; `page/classes.js` has the same rule."""
    return name.lower() in _BACKGROUND


def _distinct(color: Color, taken: Sequence[Color]) -> Color:
    if not taken or _nearest(color, taken) >= _ALIKE:
        return color
    candidates = [color, *default_palette(256)]
    return max(candidates, key=lambda candidate: _nearest(candidate, taken))


def _nearest(color: Color, others: Sequence[Color]) -> float:
    difference = np.asarray(others, dtype=float) - np.asarray(color, dtype=float)
    return float(np.sqrt((difference**2).sum(1)).min())
