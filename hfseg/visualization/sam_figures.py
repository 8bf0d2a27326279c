"""A semantic model beside SAM: the table, the page, and a figure for an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from hfseg.labels import LabelSet, default_palette
from hfseg.visualization.overlay import (
    IGNORED_NAME,
    RIGHT_COLOR,
    WRONG_COLOR,
    color_mask,
    contours,
    error_map,
    hatch,
)

PLUMBING = (
    "PLUMBING, NOT A RESULT: the SAM has random weights that were never trained, so the rows with "
    "SAM show that the program runs, and nothing else."
)
CLASS_AWARENESS = (
    "What knows classes and what doesn't: SAM's masks have no classes, so SAM alone has no mean "
    "IoU. Row 1 is the model alone. Row 2 is no method but an upper bound: every SAM mask is given "
    "the class that most of its pixels truly have, so the truth was looked at. In rows 3 and 4 "
    "every class comes from the model and SAM gives outlines only: it is asked for each region of "
    "the prediction (3), or each of its masks takes the class that most of its pixels are "
    "predicted as (4); neither can find a class that the model missed. Mask recall ignores "
    "classes: it is the share of true regions (connected pixels of one class) that one mask covers "
    "with an IoU above 0.5; the masks are the model's own regions (1), SAM's masks of everything "
    "(2), SAM's answers (3), and the regions that the votes leave (4)."
)
_PANEL, _DPI = 3.1, 130  # inches, dots an inch


@dataclass(frozen=True)
class Row:
    """One way to segment, measured.

    Attributes:
        name: what it is.
        classes_from: `model` or `truth`.
        scores: metric -> 0-1, or None: not defined; the same metrics in every row.
        seconds: an image, mean, everything that the way needs.
        peak_gib: memory at its highest while it ran, the weights of both models included; None
            where it can't be measured.
        million_parameters: of the networks that it needs.
    """

    name: str
    classes_from: str
    scores: dict[str, float | None]
    seconds: float
    peak_gib: float | None
    million_parameters: float


def table(rows: Sequence[Row], titles: Mapping[str, str]) -> list[list[str]]:
    """Heading and rows, as text; `titles` says which metrics are in it and what they are called."""
    heading = ["way", "classes from", *titles.values(), "s/image", "peak GiB", "M parameters"]
    lines = [heading]
    for number, row in enumerate(rows, start=1):
        scores = [_cell(row.scores[key]) for key in titles]
        peak = "unknown" if row.peak_gib is None else f"{row.peak_gib:.2f}"
        cost = [f"{row.seconds:.3f}", peak, f"{row.million_parameters:.2f}"]
        lines.append([f"{number} {row.name}", row.classes_from, *scores, *cost])
    return lines


def terminal_table(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    lines = table(rows, titles)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def markdown_table(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    heading, *lines = table(rows, titles)
    texts = ["| " + " | ".join(line) + " |" for line in lines]
    rule = "|---|---|" + "---:|" * (len(heading) - 2)
    return "\n".join(["| " + " | ".join(heading) + " |", rule, *texts])


def boundary_changes(rows: Sequence[Row]) -> list[str]:
    """What refining did to Boundary IoU, better or worse, a sentence each."""
    own = rows[0].scores["mean_boundary_iou"]
    sentences = []
    for row in rows[2:]:
        refined = row.scores["mean_boundary_iou"]
        if own is None or refined is None:
            continue
        verdict = "better" if refined > own else "worse" if refined < own else "the same"
        sentences.append(
            f"Boundary IoU of {row.name}: {refined:.4f}, the model's own {own:.4f} "
            f"({refined - own:+.4f}, {verdict})"
        )
    return sentences


def picture_of_masks(image: Image.Image, masks: np.ndarray) -> Image.Image:
    """The photo under SAM's masks, small ones on top; the colours mean nothing.

    Args:
        image: RGB.
        masks: (N, H, W) bool.

    Returns:
        RGB image; pixels without a mask are dimmed.
    """
    numbers = np.zeros((image.height, image.width), dtype=np.int64)
    order = np.argsort(-np.count_nonzero(masks, axis=(1, 2)), kind="stable")
    for number, index in enumerate(order, start=1):
        numbers[masks[index]] = number
    # every other colour of a long palette, since neighbours in size are often neighbours in space
    colors = np.array([(0, 0, 0), *default_palette(max(8, len(masks)))], dtype=np.float32)
    picture = 0.4 * np.asarray(image, dtype=np.float32) + 0.6 * colors[numbers]
    picture[contours(numbers)] = 255
    return Image.fromarray(picture.round().astype(np.uint8))


def plot_sam_image(
    image: Image.Image,
    truth: np.ndarray,
    masks: Image.Image,
    num_masks: int,
    predictions: Sequence[tuple[str, np.ndarray]],
    labels: LabelSet,
    path: str | Path,
    caption: str = "",
) -> Figure:
    """One image: photo, truth and SAM's masks; then each way's classes and its errors below.

    Args:
        image: RGB.
        truth: (H, W) true ids; ids without a class are hatched.
        masks: `picture_of_masks`.
        num_masks: how many there are.
        predictions: title and (H, W) ids of each way; ids past the last class are hatched.
        labels: names and colours.
        path: of the PNG.
        caption: written below.
    """
    shape = (truth.shape[1], truth.shape[0])
    height = min(_PANEL * shape[1] / shape[0], 1.3 * _PANEL)
    scale = _DPI * min(_PANEL / shape[0], height / shape[1])
    size = (max(1, round(scale * shape[0])), max(1, round(scale * shape[1])))

    def classes(mask: np.ndarray) -> np.ndarray:
        ids = np.asarray(_ids(mask).resize(size, Image.Resampling.NEAREST))
        return hatch(np.asarray(color_mask(ids, labels)), ids >= len(labels))

    def errors(mask: np.ndarray) -> np.ndarray:
        ids, true = (
            np.asarray(_ids(values).resize(size, Image.Resampling.NEAREST))
            for values in (mask, truth)
        )
        return np.asarray(error_map(ids, true, labels))

    def photo(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))

    panels = [
        [("photo", photo(image)), ("ground truth", classes(truth)),
         (f"SAM's masks of everything ({num_masks}), without classes", photo(masks))],
        [(title, classes(mask)) for title, mask in predictions],
        [("", errors(mask)) for _, mask in predictions],
    ]  # fmt: skip
    shown = [truth, *(mask for _, mask in predictions)]
    occurring = np.unique(np.concatenate([np.unique(mask) for mask in shown])).tolist()
    patches = [
        Patch(facecolor=np.divide(labels.palette[index], 255), edgecolor="#777777", lw=0.5,
              label=labels.names[index])
        for index in occurring
        if index < len(labels)
    ]  # fmt: skip
    if max(occurring) >= len(labels):
        patches.append(
            Patch(facecolor="#181818", edgecolor="#8a8a8a", hatch="/////", label=IGNORED_NAME)
        )
    verdicts = [
        Patch(facecolor=np.divide(color, 255), edgecolor="#777777", lw=0.5, label=name)
        for name, color in (("right", RIGHT_COLOR), ("wrong", WRONG_COLOR))
    ]
    gap, title_height, foot = 0.08, 0.26, 0.32
    full = (len(predictions) * (_PANEL + gap) + gap, 3 * height + 2 * title_height + 3 * gap + foot)
    with matplotlib.rc_context({"font.size": 9, "hatch.linewidth": 0.8}):
        figure = Figure(figsize=full)
        top = full[1]
        for line, row in enumerate(panels):
            top -= height + (title_height if line < 2 else gap)
            for column, (title, picture) in enumerate(row):
                left = gap + column * (_PANEL + gap)
                box = (left / full[0], top / full[1], _PANEL / full[0], height / full[1])
                axes = figure.add_axes(box)
                axes.imshow(picture, interpolation="none")
                axes.axis("off")
                axes.set_title(title, fontsize=9, pad=4)
        # the free place beside SAM's masks: classes above, the error maps' colours below
        left = (gap + len(panels[0]) * (_PANEL + gap)) / full[0]
        columns = 1 if len(patches) <= 8 else 2  # a third would cut long names
        points_a_line = 72 * (height + title_height - 0.65) / -(-len(patches) // columns)
        style = {
            "alignment": "left", "borderaxespad": 0, "frameon": False,
            "columnspacing": 1.0, "handletextpad": 0.5, "handlelength": 1.6,
        }  # fmt: skip
        figure.legend(
            handles=patches,
            title="classes",
            loc="upper left",
            bbox_to_anchor=(left, 1 - 0.05 / full[1]),
            ncols=columns,
            fontsize=min(8, points_a_line / 1.5),
            **style,
        )
        figure.legend(
            handles=verdicts,
            title="error maps",
            loc="lower left",
            bbox_to_anchor=(left, 1 - (title_height + height) / full[1]),
            ncols=len(verdicts),
            fontsize=8,
            **style,
        )
        figure.text(gap / full[0], 0.5 * foot / full[1], caption, va="center", color="#444444")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI)
    return figure


def _ids(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.asarray(mask).clip(max=255).astype(np.uint8))


def _cell(value: Any) -> str:
    return "none" if value is None else f"{value:.4f}"
