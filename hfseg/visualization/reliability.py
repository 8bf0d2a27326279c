"""The reliability diagram: how often pixels of each confidence are right."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hfseg.visualization.figure_style import save, style

_COLORS = ("#0072b2", "#d55e00")


def plot_reliability(series: Mapping[str, Mapping[str, np.ndarray]], path: str | Path) -> Figure:
    """Accuracy against confidence; on the diagonal a model is as sure as it is right.

    Dots have an area that grows with their fraction of the pixels. Below the diagonal the model is
    too sure.

    Args:
        series: caption -> the bins' `confidence`, `accuracy` and `fraction` of the pixels, each
            0-1; one or two.
        path: of the PNG.
    """
    with style():
        figure = Figure(figsize=(4.6, 4.8), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
        for color, (caption, bins) in zip(_COLORS, series.items(), strict=False):
            axes.plot(bins["confidence"], bins["accuracy"], color=color, linewidth=1, label=caption)
            sizes = [12 + 400 * fraction for fraction in bins["fraction"]]
            axes.scatter(bins["confidence"], bins["accuracy"], s=sizes, color=color, alpha=0.6)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_aspect("equal")
        axes.grid(True)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        figure.legend(loc="outside upper left")
        return save(figure, path)
