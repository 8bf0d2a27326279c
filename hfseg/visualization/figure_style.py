"""The look of all figures. No pyplot, so no global state and no display."""

from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

DPI = 150


def style() -> AbstractContextManager[None]:
    """Fonts, colors and lines, while a figure is drawn."""
    return matplotlib.rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#888888",
            "axes.axisbelow": True,
            "xtick.color": "#444444",
            "ytick.color": "#444444",
            "grid.color": "#e4e4e4",
            "grid.linewidth": 0.7,
            "hatch.linewidth": 0.8,
            "legend.frameon": False,
            "text.parse_math": False,  # a "$" in a name is no formula
        }
    )


def shortened(name: str, length: int = 24) -> str:
    """A class name with at most `length` characters."""
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def save(figure: Figure, path: str | Path, dpi: int = DPI) -> Figure:
    """Write a PNG, in a new folder if need be, and return the figure."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    return figure
