"""The curves of a training run: losses, learning rate and mean IoU."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hfseg.visualization.figure_style import save, style

_TRAIN, _EVAL, _RATE = "#0072b2", "#d55e00", "#999999"


def plot_curves(log_history: Sequence[Mapping[str, float]], path: str | Path) -> Figure:
    """Losses and learning rate (left), and mean IoU with its best value (right).

    Args:
        log_history: `trainer.state.log_history`. If a step has several evaluations, the first is
            drawn: a later one belongs to the best checkpoint, reloaded at the end.
        path: of the PNG.
    """
    train = _series(log_history, "loss")
    rate = _series(log_history, "learning_rate")
    eval_loss = _series(log_history, "eval_loss")
    score = _series(log_history, "eval_mean_iou")
    with style():
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        loss_axes, score_axes = figure.subplots(1, 2)
        _line(loss_axes, train, _TRAIN, "training")
        _line(loss_axes, eval_loss, _EVAL, "validation", marker="o")
        loss_axes.set_title("loss")
        if rate:
            _draw_rate(loss_axes, rate)
        _line(score_axes, score, _EVAL, "validation", marker="o")
        score_axes.set_title("mean IoU")
        _mark_best(score_axes, score)
        for axes, has_values in ((loss_axes, train or eval_loss), (score_axes, score)):
            axes.grid(True)
            axes.set_xlabel(_step_label(log_history))
            if not has_values:
                axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center")
                axes.set_xticks([])
                axes.set_yticks([])
        if train or eval_loss:
            loss_axes.legend(loc="upper right")
        return save(figure, path)


def _draw_rate(loss_axes: Axes, rate: dict[int, float]) -> None:
    """The learning rate behind the losses, on an axis of its own but in their legend."""
    axes = loss_axes.twinx()
    _line(axes, rate, _RATE, "learning rate", linewidth=0.8, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.tick_params(axis="y", colors=_RATE, labelsize=8)
    axes.spines["right"].set_visible(False)
    axes.set_zorder(0)
    loss_axes.set_zorder(1)
    loss_axes.patch.set_visible(False)
    loss_axes.plot([], [], color=_RATE, linewidth=0.8, linestyle="--", label="learning rate")


def _mark_best(axes: Axes, score: dict[int, float]) -> None:
    finite = {step: value for step, value in score.items() if math.isfinite(value)}
    if not finite:
        return
    best = max(finite, key=lambda step: finite[step])
    axes.plot([best], [finite[best]], "*", color="black", markersize=11, zorder=5)
    low, high = min(finite.values()), max(finite.values())
    room = max(high - low, 0.02)
    axes.set_ylim(max(0, low - 0.1 * room), min(1.02, high + 0.25 * room))
    late = best > sum(axes.get_xlim()) / 2
    axes.annotate(
        f"best {finite[best]:.4f} at step {best}",
        (best, finite[best]),
        xytext=(4 if late else -4, 8),
        textcoords="offset points",
        ha="right" if late else "left",
        va="bottom",
    )


def _series(log_history: Sequence[Mapping[str, float]], key: str) -> dict[int, float]:
    values: dict[int, float] = {}
    for entry in log_history:
        if entry.get(key) is not None:
            values.setdefault(int(entry["step"]), float(entry[key]))
    return dict(sorted(values.items()))


def _line(
    axes: Axes,
    values: dict[int, float],
    color: str,
    label: str,
    marker: str | None = None,
    linewidth: float = 1.5,
    linestyle: str = "-",
) -> None:
    if values:
        axes.plot(
            list(values),
            list(values.values()),
            color=color,
            label=label,
            linewidth=linewidth,
            linestyle=linestyle,
            marker="o" if len(values) <= 5 else marker,  # a single point draws no line
            markersize=3.5,
        )


def _step_label(log_history: Sequence[Mapping[str, float]]) -> str:
    last = max(log_history, key=lambda entry: entry.get("step", 0), default={})
    if not last.get("epoch"):
        return "step"
    return f"step (one epoch = {last['step'] / last['epoch']:.4g} steps)"
