"""`LabelSet`: the meaning of the ids in a mask, shared by all of hfseg."""

import colorsys
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hfseg.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

IGNORE_INDEX = 255
"""The id of pixels that losses, metrics and figures ignore."""

UNLABELED = -100
"""Ignored too: what PyTorch's losses ignore by default, and what `Trainer` pads labels with."""

Color = tuple[int, int, int]

# Okabe & Ito (2008), "Color Universal Design": eight colors distinct in any color vision.
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
    """Distinct RGB colors for a dataset without its own; deterministic.

    The first eight are safe for color blindness. The others step through the hues by the golden
    ratio at three brightness levels, so that consecutive ids have very different colors.
    """
    colors = list(_OKABE_ITO[:num_labels])
    step = 0
    while len(colors) < num_labels:
        hue = (0.11 + step * 0.61803398875) % 1.0
        value = (0.95, 0.7, 0.5)[step % 3]
        saturation = (0.55, 0.85)[step // 3 % 2]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        color = (round(255 * red), round(255 * green), round(255 * blue))
        step += 1
        if color not in colors:
            colors.append(color)
    return tuple(colors)


def plain_name(name: object) -> str:
    """The name in a form that ignores case and how words are separated."""
    return re.sub(r"[\s_-]+", " ", str(name)).strip().lower()


_BROKEN = ("Cc", "Cs")
"""Control characters, which break tables, and halves of surrogate pairs, which no file can hold."""


@dataclass(frozen=True)
class LabelSet:
    """Names and colors of the classes in id order, and the ignored id.

    Args:
        names: class names; the position is the id.
        palette: RGB triples (0-255) in id order; empty: `default_palette`.
        ignore_index: the id of pixels without a class, 255.

    Raises:
        UserError: no names, repeated names, or a palette that does not fit the names.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...] = ()
    ignore_index: int = IGNORE_INDEX

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        palette = tuple(tuple(int(c) for c in color) for color in self.palette)
        if not names:
            raise UserError("there are no class names: give at least one")
        broken = [name for name in names if any(unicodedata.category(c) in _BROKEN for c in name)]
        if broken:
            raise UserError(f"the class name {broken[0]!r} contains control characters: rename it")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError(
                f"class names must be unique, but {repeated[0]!r} is repeated: rename one of them"
            )
        if len(names) > self.ignore_index:
            raise UserError(
                f"{len(names)} classes are too many for 8-bit masks: use at most "
                f"{self.ignore_index}"
            )
        palette = palette or default_palette(len(names))
        if len(palette) != len(names):
            raise UserError(
                f"{len(names)} class names, but {len(palette)} colors: give one color per class"
            )
        if any(len(color) != 3 or min(color) < 0 or max(color) > 255 for color in palette):
            raise UserError("every color of the palette must be three numbers from 0 to 255")
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

    @classmethod
    def numbered(cls, count: int, palette: tuple[Color, ...] = ()) -> "LabelSet":
        """Placeholders for classes without names: `class 0` and so on."""
        return cls(tuple(f"class {index}" for index in range(count)), palette)

    @property
    def unnamed(self) -> bool:
        """Whether the names are placeholders: `LABEL_0` ... of transformers, or `numbered`."""
        theirs = tuple(f"LABEL_{index}" for index in range(len(self)))
        return self.names in (theirs, LabelSet.numbered(len(self)).names)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names for metric keys: spaces become underscores, collisions are numbered."""
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
        """(256, 3) uint8: RGB by id; ids without a class, including 255, are black."""
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: len(self)] = self.palette
        return table

    def to_dict(self) -> dict[str, object]:
        return {
            "names": list(self.names),
            "palette": [list(color) for color in self.palette],
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LabelSet":
        return cls(
            names=tuple(values["names"]),
            palette=_colors(values.get("palette") or ()),
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
    def from_config(cls, config: "PreTrainedConfig") -> "LabelSet":
        """The labels of a model: `config.id2label`, and `config.palette` if it has one."""
        names = [config.id2label[key] for key in sorted(config.id2label, key=int)]
        unique: list[str] = []
        for index, name in enumerate(names):
            # some Hub checkpoints repeat a class name; the ids must not change
            unique.append(f"{name} ({index})" if name in names[:index] else name)
        return cls(
            names=tuple(unique),
            palette=_colors(getattr(config, "palette", None) or ()),
            ignore_index=int(getattr(config, "loss_ignore_index", IGNORE_INDEX)),
        )


def _colors(palette: Sequence[Sequence[int]]) -> tuple[Color, ...]:
    """Colors as tuples, which JSON turns into lists; `LabelSet` checks them."""
    return tuple(tuple(color) for color in palette)  # type: ignore[misc]


LabelNames: TypeAlias = LabelSet | Sequence[str] | Mapping[int, str]
"""Classes as a user gives them: a `LabelSet`, names in id order, or mask value -> name."""
