"""Comparison of a semantic model with SAM: the table, and one figure per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from hfseg.labels import LabelSet, default_palette
from hfseg.visualization.figure_style import save
from hfseg.visualization.legends import class_patches, error_patches
from hfseg.visualization.overlay import contours
from hfseg.visualization.panels import Panels, add_panel, panel_height

UNTRAINED = (
    "UNTRAINED, NOT A RESULT: this SAM has random weights, so the rows with SAM only show that the "
    "program runs."
)
CLASS_AWARENESS = (
    "Where the classes come from: SAM's masks have no classes, so SAM alone has no mean IoU. Row 1 "
    "is the model alone. Row 2 is an upper bound, not a method: every SAM mask gets its majority "
    "class in the ground truth. In rows 3 and 4 all classes come from the model, and SAM only "
    "refines boundaries: SAM is prompted with each region of the prediction (3), or each SAM mask "
    "gets its majority class in the prediction (4); neither can find a class the model missed. "
    "Mask recall ignores classes: it is the fraction of ground-truth regions (connected pixels of "
    "one class) that some mask covers with an IoU above 0.5; the masks are the regions of the "
    "model's prediction (1), all SAM masks (2), SAM's answers to the prompts (3), and the regions "
    "after voting (4)."
)
CLASS_NAMES = (
    "SAM 3 is prompted with each class name and not trained on this data. Instances: all that it "
    "finds, painted with the best score on top. Semantic: at each pixel the class with the largest "
    "semantic probability times presence. A pixel that no class reaches by the threshold is "
    "background, or wrong if the dataset has no such class."
)
_DPI = 130
_PANEL, _GAP, _TITLE, _FOOT = 3.1, 0.08, 0.26, 0.32  # inches


@dataclass(frozen=True)
class Row:
    """The measurements of one method.

    Attributes:
        name: of the method.
        classes_from: `model` or `ground truth`.
        scores: metric -> 0-1, or None if undefined; the same metrics in every row.
        seconds: mean per image, over all steps of the method.
        peak_gib: peak memory, including the weights of both models; None if it can't be measured.
        million_parameters: of the networks that the method uses.
    """

    name: str
    classes_from: str
    scores: dict[str, float | None]
    seconds: float
    peak_gib: float | None
    million_parameters: float


def method_table(rows: Sequence[Row], titles: Mapping[str, str]) -> list[list[str]]:
    """Heading and rows, as text, for `tables`; `titles` selects the metrics and names them."""
    lines = [["method", "classes from", *titles.values(), "s/image", "peak GiB", "M parameters"]]
    for number, row in enumerate(rows, start=1):
        scores = [_cell(row.scores[key]) for key in titles]
        peak = "unknown" if row.peak_gib is None else f"{row.peak_gib:.2f}"
        cost = [f"{row.seconds:.3f}", peak, f"{row.million_parameters:.2f}"]
        lines.append([f"{number} {row.name}", row.classes_from, *scores, *cost])
    return lines


def boundary_changes(rows: Sequence[Row]) -> list[str]:
    """The change in Boundary IoU by each refinement, one sentence each."""
    base = rows[0].scores["mean_boundary_iou"]
    sentences = []
    for row in rows[2:]:
        refined = row.scores["mean_boundary_iou"]
        if base is None or refined is None:
            continue
        verdict = "better" if refined > base else "worse" if refined < base else "equal"
        sentences.append(
            f"Boundary IoU of {row.name}: {refined:.4f}, of the model alone {base:.4f} "
            f"({refined - base:+.4f}, {verdict})"
        )
    return sentences


def picture_of_masks(image: Image.Image, masks: np.ndarray) -> Image.Image:
    """The photo under SAM's masks, small ones on top, in arbitrary colors.

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
    # consecutive colors of the palette differ, since masks of similar size are often adjacent
    colors = np.array([(0, 0, 0), *default_palette(max(8, len(masks)))], dtype=np.float32)
    pixels = 0.4 * np.asarray(image, dtype=np.float32) + 0.6 * colors[numbers]
    pixels[contours(numbers)] = 255
    return Image.fromarray(pixels.round().astype(np.uint8))


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
    """One image: photo, ground truth and SAM's masks; below, the prediction and errors per method.

    Args:
        image: RGB.
        truth: (H, W) ground-truth ids; ids without a class are hatched.
        masks: `picture_of_masks`.
        num_masks: how many there are.
        predictions: title and (H, W) ids per method; ids past the last class are hatched.
        labels: names and colors.
        path: of the PNG.
        caption: below the panels.
    """
    draw = Panels.fitting(truth, _PANEL, _DPI, labels)
    height = panel_height(truth, _PANEL)
    panels = [
        [("photo", draw.photo(image)), ("ground truth", draw.classes(truth)),
         (f"all SAM masks ({num_masks}), without classes", draw.photo(masks))],
        [(title, draw.classes(mask)) for title, mask in predictions],
        [("", draw.errors(mask, truth)) for _, mask in predictions],
    ]  # fmt: skip
    full = (
        len(predictions) * (_PANEL + _GAP) + _GAP,
        3 * height + 2 * _TITLE + 3 * _GAP + _FOOT,
    )
    with matplotlib.rc_context({"font.size": 9, "hatch.linewidth": 0.8, "text.parse_math": False}):
        figure = Figure(figsize=full)
        top = full[1]
        for line, row in enumerate(panels):
            top -= height + (_TITLE if line < 2 else _GAP)
            for column, (title, pixels) in enumerate(row):
                left = _GAP + column * (_PANEL + _GAP)
                axes = add_panel(figure, pixels, left, top, _PANEL, height)
                axes.set_title(title, fontsize=9, pad=4)
        left = (_GAP + len(panels[0]) * (_PANEL + _GAP)) / full[0]
        patches = class_patches([truth, *(mask for _, mask in predictions)], labels)
        _draw_legends(figure, patches, left, height)
        figure.text(_GAP / full[0], 0.5 * _FOOT / full[1], caption, va="center", color="#444444")
        return save(figure, path, _DPI)


def _draw_legends(figure: Figure, patches: Sequence[Patch], left: float, height: float) -> None:
    """In the free space right of SAM's masks: the classes above, the errors below."""
    full_height = figure.get_size_inches()[1]
    columns = 1 if len(patches) <= 8 else 2  # a third would cut long names
    points_per_line = 72 * (height + _TITLE - 0.65) / -(-len(patches) // columns)
    style = {
        "alignment": "left", "borderaxespad": 0, "frameon": False,
        "columnspacing": 1.0, "handletextpad": 0.5, "handlelength": 1.6,
    }  # fmt: skip
    figure.legend(
        handles=patches,
        title="classes",
        loc="upper left",
        bbox_to_anchor=(left, 1 - 0.05 / full_height),
        ncols=columns,
        fontsize=min(8, points_per_line / 1.5),
        **style,
    )
    errors = error_patches()
    figure.legend(
        handles=errors,
        title="error maps",
        loc="lower left",
        bbox_to_anchor=(left, 1 - (_TITLE + height) / full_height),
        ncols=len(errors),
        fontsize=8,
        **style,
    )


def _cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
