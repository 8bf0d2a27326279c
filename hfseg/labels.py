"""`LabelSet`: what the ids in a mask mean. One object, made once, read by everything else."""

import colorsys
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hfseg.errors import UserError

IGNORE_INDEX = 255
"""The id of a pixel that counts for nothing: not in the loss, not in a metric, not in a picture."""

UNLABELED = -100
"""Ignored too: what PyTorch's losses ignore by default, and what `Trainer` pads labels with."""

Color = tuple[int, int, int]

# Okabe & Ito (2008), "Color Universal Design": eight colours told apart with any colour vision.
_OKABE_ITO: tuple[Color, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (90, 90, 90),
)


def default_palette(num_labels: int) -> tuple[Color, ...]:
    """Distinct RGB colours for a data set that has none, the same ones every time.

    The first eight are colour-blind safe; further ones step through the hues by the golden
    ratio at three brightnesses, so that neighbours in id stay far apart in colour.
    """
    colors = list(_OKABE_ITO[:num_labels])
    step = 0
    while len(colors) < num_labels:
        hue = (0.11 + step * 0.61803398875) % 1.0
        value = (0.95, 0.7, 0.5)[step % 3]
        saturation = (0.55, 0.85)[step // 3 % 2]
        rgb = colorsys.hsv_to_rgb(hue, saturation, value)
        color = tuple(round(255 * channel) for channel in rgb)
        step += 1
        if color not in colors:
            colors.append(color)  # type: ignore[arg-type]
    return tuple(colors)


def plain_name(name: object) -> str:
    """What two names of one class share: capitals, spaces, hyphens and underscores don't count."""
    return re.sub(r"[\s_-]+", " ", str(name)).strip().lower()


@dataclass(frozen=True)
class LabelSet:
    """Names and colours of the classes, in id order, and the id that is ignored.

    Args:
        names: class names; the position is the id.
        palette: RGB triples (0-255) in id order; left empty, `default_palette` is used.
        ignore_index: the id of pixels without a class, 255.

    Raises:
        UserError: names that are empty or repeated, or a palette of another length.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...] = ()
    ignore_index: int = IGNORE_INDEX

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        palette = tuple(tuple(int(c) for c in color) for color in self.palette)
        if not names:
            raise UserError("a label set needs at least one class name")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError(f"class names must differ, but {repeated[0]!r} stands twice")
        if len(names) > self.ignore_index:
            raise UserError(
                f"{len(names)} classes do not fit beside ignore_index {self.ignore_index} in 8 bits"
            )
        palette = palette or default_palette(len(names))
        if len(palette) != len(names):
            raise UserError(f"{len(names)} class names, but {len(palette)} colours")
        if any(len(color) != 3 or min(color) < 0 or max(color) > 255 for color in palette):
            raise UserError("every colour must be three numbers from 0 to 255")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "palette", palette)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(self.names))

    @property
    def label2id(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    @property
    def unnamed(self) -> bool:
        """Whether these are the names that transformers gives where there are none."""
        return self.names == tuple(f"LABEL_{index}" for index in range(len(self)))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names as in metric keys: spaces become underscores, made unique if two collide."""
        keys: list[str] = []
        for name in self.names:
            key = base = "_".join(name.split())
            number = 2
            while key in keys:
                key = f"{base}_{number}"
                number += 1
            keys.append(key)
        return tuple(keys)

    def color_table(self) -> np.ndarray:
        """(256, 3) uint8: RGB by id; ids without a class, 255 among them, are black."""
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: len(self)] = self.palette
        return table

    def to_dict(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "palette": [list(color) for color in self.palette],
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LabelSet":
        return cls(
            names=tuple(values["names"]),
            palette=tuple(tuple(color) for color in values.get("palette") or ()),
            ignore_index=int(values.get("ignore_index", IGNORE_INDEX)),
        )

    def save(self, path: str | Path) -> None:
        """Write `labels.json`."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "LabelSet":
        """Read `labels.json`."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))

    @classmethod
    def from_config(cls, config: Any) -> "LabelSet":
        """The labels of a model: `config.id2label`, and `config.palette` where it has one."""
        id2label: dict[Any, str] = config.id2label
        names = [id2label[key] for key in sorted(id2label, key=int)]
        unique: list[str] = []
        for index, name in enumerate(names):
            # some checkpoints of the Hub name two classes alike; ids must stay what they are
            unique.append(f"{name} ({index})" if name in names[:index] else name)
        palette: Sequence[Sequence[int]] = getattr(config, "palette", None) or ()
        return cls(
            names=tuple(unique),
            palette=tuple(tuple(color) for color in palette),  # type: ignore[misc]
            ignore_index=int(getattr(config, "loss_ignore_index", IGNORE_INDEX)),
        )
