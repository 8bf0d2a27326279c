import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.visualization.class_figures import plot_confusion, plot_per_class_iou
from hfseg.visualization.curves import plot_curves
from hfseg.visualization.prediction_figures import plot_predictions

LABELS = LabelSet(("sky", "road", "car"), ((10, 20, 200), (90, 90, 90), (200, 30, 40)))
MANY = LabelSet(tuple(f"class {index}" for index in range(150)))

HISTORY = [
    {"loss": 2.0, "learning_rate": 1e-4, "epoch": 0.5, "step": 5},
    {"loss": 1.0, "learning_rate": 5e-5, "epoch": 1.0, "step": 10},
    {"eval_loss": 1.1, "eval_mean_iou": 0.6, "epoch": 1.0, "step": 10},
    {"loss": 0.8, "learning_rate": 0.0, "epoch": 2.0, "step": 20},
    {"eval_loss": 1.2, "eval_mean_iou": 0.5, "epoch": 2.0, "step": 20},
    {"train_runtime": 3.0, "train_loss": 1.2, "epoch": 2.0, "step": 20},
    {"eval_loss": 1.1, "eval_mean_iou": 0.6, "epoch": 2.0, "step": 20},
]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def lines(axes):
    return {
        line.get_label(): line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata())
    }


def test_curves_hold_the_logged_values(tmp_path):
    loss, score, rate = plot_curves(HISTORY, tmp_path / "curves.png").axes
    assert lines(loss)["training"] == [[5, 2.0], [10, 1.0], [20, 0.8]]
    assert lines(loss)["validation"] == [[10, 1.1], [20, 1.2]]
    assert lines(rate)["learning rate"] == [[5, 1e-4], [10, 5e-5], [20, 0.0]]
    assert "one epoch = 10 steps" in score.get_xlabel()
    assert Image.open(tmp_path / "curves.png").width > 1000


def test_the_evaluation_of_the_reloaded_best_model_is_not_drawn_at_the_last_step(tmp_path):
    score = plot_curves(HISTORY, tmp_path / "curves.png").axes[1]
    assert lines(score)["validation"] == [[10, 0.6], [20, 0.5]]


def test_the_best_score_is_marked(tmp_path):
    score = plot_curves(HISTORY, tmp_path / "curves.png").axes[1]
    assert texts(score) == ["best 0.6000 at step 10"]


def test_a_nan_score_is_not_the_best(tmp_path):
    history = [{"eval_mean_iou": float("nan"), "step": 1}, {"eval_mean_iou": 0.2, "step": 2}]
    score = plot_curves(history, tmp_path / "curves.png").axes[1]
    assert texts(score) == ["best 0.2000 at step 2"]


def test_a_curve_that_was_not_logged_is_marked(tmp_path):
    for axes in plot_curves([], tmp_path / "curves.png").axes:
        assert texts(axes) == ["not logged"]


def test_bars_are_sorted_and_carry_value_and_color(tmp_path):
    axes = plot_per_class_iou(
        LABELS.names, [0.25, 0.75, 0.5], LABELS.palette, tmp_path / "iou.png", mean_iou=0.5
    ).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["road", "car", "sky"]
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.5, 0.25]
    colors = [np.multiply(bar.get_facecolor()[:3], 255).round().tolist() for bar in axes.patches]
    assert colors == [[90, 90, 90], [200, 30, 40], [10, 20, 200]]
    assert texts(axes) == ["0.75", "0.50", "0.25"]
    assert "0.5000" in axes.get_title(loc="left")


def test_an_absent_class_is_labeled_and_comes_last(tmp_path):
    ious = [float("nan"), 0.0, 0.5]
    axes = plot_per_class_iou(LABELS.names, ious, LABELS.palette, tmp_path / "iou.png").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["car", "road", "sky"]
    assert texts(axes) == ["0.50", "0.00", "absent"]


def test_150_classes_fill_columns_with_each_class_once(tmp_path):
    figure = plot_per_class_iou(
        MANY.names, np.linspace(0, 1, 150), MANY.palette, tmp_path / "iou.png"
    )
    shown = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert len(figure.axes) == 3
    assert shown == list(MANY.names)[::-1]


def test_per_class_values_of_a_wrong_length_are_rejected(tmp_path):
    with pytest.raises(UserError, match="3 class names, 2 IoU values"):
        plot_per_class_iou(LABELS.names, [0.1, 0.2], LABELS.palette, tmp_path / "iou.png")


def test_confusion_rows_are_percent_of_the_true_class(tmp_path):
    confusion = np.array([[90, 10, 0], [0, 0, 0], [50, 0, 150]])
    axes = plot_confusion(confusion, LABELS.names, tmp_path / "confusion.png").axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown[0], [90, 10, 0])
    np.testing.assert_allclose(shown[2], [25, 0, 75])
    assert shown.mask[1].all()
    assert texts(axes) == ["90", "10", "25", "75"]
    assert axes.get_ylabel() == "ground truth"
    assert axes.get_title(loc="left") == "gray: not in the ground truth"


def test_with_many_classes_the_confusion_matrix_shows_those_that_occur(tmp_path):
    confusion = np.zeros((150, 150), dtype=np.int64)
    confusion[3, 3], confusion[3, 70], confusion[9, 3] = 6, 2, 5
    axes = plot_confusion(confusion, MANY.names, tmp_path / "confusion.png").axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["class 3", "class 9", "class 70"]
    np.testing.assert_allclose(axes.images[0].get_array()[0], [75, 0, 25])
    assert axes.get_title(loc="left").startswith("3 of 150 classes occur")


def test_a_confusion_matrix_of_a_wrong_size_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"\(2, 2\)"):
        plot_confusion(np.eye(2), LABELS.names, tmp_path / "confusion.png")


def row(truth, prediction, size=(24, 32), caption="worst: mIoU 0.31"):
    return {
        "image": Image.new("RGB", size[::-1], (120, 200, 120)),
        "truth": np.full(size, truth, np.uint8),
        "prediction": np.full(size, prediction, np.uint8),
        "caption": caption,
    }


def test_prediction_rows_show_image_ground_truth_and_prediction_in_class_colors(tmp_path):
    figure = plot_predictions([row(0, 2)], LABELS, tmp_path / "predictions.png")
    middles = [axes.images[0].get_array()[150, 200].tolist() for axes in figure.axes]
    assert middles == [[120, 200, 120], [10, 20, 200], [200, 30, 40]]
    assert "worst: mIoU 0.31" in [text.get_text() for text in figure.texts]
    with Image.open(tmp_path / "predictions.png") as written:
        found = {color for _, color in written.convert("RGB").getcolors(1 << 20)}
    assert {(120, 200, 120), (10, 20, 200), (200, 30, 40)} <= found


def legend_names(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_of_predictions_names_the_classes_shown_and_ignored(tmp_path):
    figure = plot_predictions([row(255, 2), row(0, 2)], LABELS, tmp_path / "predictions.png")
    assert legend_names(figure) == ["sky", "car", "ignored"]


def test_without_ignored_pixels_the_legend_does_not_list_them(tmp_path):
    figure = plot_predictions([row(1, 1)], LABELS, tmp_path / "predictions.png")
    assert legend_names(figure) == ["road"]


@pytest.mark.parametrize("size", [(24, 32), (200, 60), (40, 300)])
def test_legend_and_panels_do_not_overlap_and_stay_inside(tmp_path, size):
    rng = np.random.default_rng(0)
    rows = [row(0, 0, size), row(0, 0, size)]
    for entry in rows:
        entry["truth"] = rng.integers(0, 150, size).astype(np.uint8)
    figure = plot_predictions(rows, MANY, tmp_path / "predictions.png")
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.y0 >= 0
    assert legend.x1 <= figure.bbox.x1
    assert legend.y1 <= min(axes.get_window_extent().y0 for axes in figure.axes)


def test_a_dollar_in_a_class_name_is_no_formula(tmp_path):
    names = (r"cost in $\frac{", "$x_{$", "<b>")
    plot_per_class_iou(names, [0.1, 0.2, 0.3], LABELS.palette, tmp_path / "bars.png", mean_iou=0.2)
    plot_confusion(np.eye(3, dtype=np.int64), names, tmp_path / "confusion.png")
    assert (tmp_path / "bars.png").is_file() and (tmp_path / "confusion.png").is_file()


def test_an_empty_list_of_rows_is_rejected(tmp_path):
    with pytest.raises(UserError, match="at least one row"):
        plot_predictions([], LABELS, tmp_path / "predictions.png")


def test_figures_do_not_import_pyplot_nor_overlays_matplotlib():
    code = (
        "import sys, hfseg.visualization.overlay; assert 'matplotlib' not in sys.modules;"
        "import hfseg.visualization.prediction_figures, hfseg.visualization.curves;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_error_sheet_is_red_where_the_prediction_is_wrong(tmp_path):
    truth = np.zeros((40, 60), np.uint8)
    prediction = truth.copy()
    prediction[:, 30:] = 1
    row = {
        "image": np.zeros((40, 60, 3), np.uint8), "truth": truth, "prediction": prediction,
        "caption": "half",
    }  # fmt: skip
    figure = plot_predictions([row], LABELS, tmp_path / "errors.png", errors=True)
    assert len(figure.axes) == 4
    drawn = np.asarray(figure.axes[3].images[0].get_array())
    height, width = drawn.shape[:2]
    assert tuple(drawn[height // 2, width // 4]) == (70, 70, 70)
    assert tuple(drawn[height // 2, 3 * width // 4]) == (235, 40, 50)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-2:] == ["correct", "wrong"]
