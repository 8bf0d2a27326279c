"""toyscapes: synthetic street scenes with exact masks and no download.

Eight classes, 160 x 256 pixels, 400 training, 80 validation and 80 test scenes. A scene is
a pure function of its split and its index: the same pixels on every machine.

`scene` composes a scene, `houses` and `figures` draw its objects, and `canvas` turns shapes into
pixels and masks.
"""

import numpy as np

from hfseg.data.toyscapes.canvas import HEIGHT, IGNORE, NAMES, WIDTH, Dice
from hfseg.data.toyscapes.scene import Scene
from hfseg.errors import UserError
from hfseg.labels import LabelSet

__all__ = ["HEIGHT", "LABELS", "SPLITS", "WIDTH", "draw_scene"]

LABELS = LabelSet(
    names=NAMES,
    # the colors of Cityscapes, https://github.com/mcordts/cityscapesScripts (labels.py)
    palette=(
        (70, 130, 180),
        (70, 70, 70),
        (128, 64, 128),
        (244, 35, 232),
        (107, 142, 35),
        (0, 0, 142),
        (220, 20, 60),
        (153, 153, 153),
    ),
    ignore_index=IGNORE,
)

SPLITS = {"train": 400, "validation": 80, "test": 80}
"""The splits and their number of scenes."""

_SEED = 20_240_000_000  # the seeds of the splits are a million apart, so no two scenes share one


def draw_scene(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene.

    Args:
        split: "train", "validation" or "test".
        index: 0 up to, not including, `SPLITS[split]`.

    Returns:
        The image, (160, 256, 3) uint8 RGB, and the mask, (160, 256) uint8 class ids with 255
        where the class is ambiguous: the hood of the camera's car and the fringe of foliage.

    Raises:
        UserError: an unknown split or index.
    """
    if split not in SPLITS:
        raise UserError(f"toyscapes has no split {split!r}; choose from {', '.join(SPLITS)}")
    if not 0 <= index < SPLITS[split]:
        raise UserError(
            f"toyscapes has no scene {index} in {split!r}; choose 0 to {SPLITS[split] - 1}"
        )
    seed = _SEED + 1_000_000 * list(SPLITS).index(split) + int(index)
    return Scene(Dice(seed)).draw()
