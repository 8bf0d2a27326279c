"""One entry per metric in `hfseg.metrics.table` feeds training, evaluation and comparison."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_folder
from launch import REPOSITORY, environment

import hfseg
from hfseg.evaluation.report import markdown, results_of, terminal_table
from hfseg.labels import LabelSet
from hfseg.metrics import table
from hfseg.metrics.confusion import count_pairs
from hfseg.metrics.split_scores import SplitScores
from hfseg.metrics.streaming import StreamingScores, metric_names
from hfseg.workflows.run import score_table
from hfseg.workflows.run_report import Evaluation, class_table

LABELS = LabelSet(("road", "tall tree"))
TRUTH = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 255]])
PREDICTION = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 0]])


@pytest.fixture
def evaluated() -> dict:
    scores = SplitScores(LABELS)
    scores.add(0, PREDICTION, TRUTH)
    return results_of(scores, {"model": "m", "dataset": "d", "split": "s", "protocol": "p"})


@pytest.fixture
def trained() -> dict[str, float]:
    scores = StreamingScores(LABELS)
    counts = count_pairs(PREDICTION, TRUTH, 2)
    predictions = (counts, torch.zeros(1, 2, 2), torch.zeros(1, 3, 15).long())
    batch = SimpleNamespace(predictions=predictions, label_ids=torch.tensor([0]))
    return scores(batch, compute_result=True)


def test_every_metric_is_in_the_results_of_an_evaluation(evaluated: dict) -> None:
    page, printed = markdown(evaluated), terminal_table(evaluated)
    for metric in table.METRICS:
        assert 0 < evaluated[metric.name] <= 1
        assert f"| {metric.title} | {evaluated[metric.name]:.4f} |" in page
        assert metric.title in printed
        if metric.class_name:
            assert metric.class_name in evaluated["per_class"]["road"]
            assert metric.class_title in page


def test_a_training_measures_and_shows_every_metric_of_the_confusion_matrix(
    trained: dict[str, float],
) -> None:
    assert set(trained) == set(metric_names(LABELS))
    logs = {f"eval_{name}": value for name, value in trained.items()}
    validation = Evaluation(logs, np.eye(2, dtype=int), {}, [], np.zeros((3, 15), int))
    printed = class_table(LABELS, {"validation": validation})
    page = score_table(LABELS, {"validation": trained})
    for metric in table.TRAINING_METRICS:
        assert metric.title in printed and metric.title in page
        if metric.class_name:
            assert f"{metric.class_name}_tall_tree" in trained


def test_training_and_evaluation_agree(evaluated: dict, trained: dict[str, float]) -> None:
    for metric in table.TRAINING_METRICS:
        assert trained[metric.name] == evaluated[metric.name]


def test_the_scores_of_a_small_example_are_those_counted_by_hand(evaluated: dict) -> None:
    road, tree = evaluated["per_class"]["road"], evaluated["per_class"]["tall tree"]
    # 6 road pixels, 4 found; 5 tree pixels, all found, and 2 of the road taken for tree
    assert (road["iou"], tree["iou"]) == (4 / 6, 5 / 7)
    assert (road["accuracy"], tree["accuracy"]) == (4 / 6, 1)
    assert (road["dice"], tree["dice"]) == (8 / 10, 10 / 12)
    assert evaluated["overall_accuracy"] == 9 / 11
    weighted = (6 * 4 / 6 + 5 * 5 / 7) / 11
    assert evaluated["frequency_weighted_iou"] == pytest.approx(weighted, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "metric"),
    [("mean_dice", "mean_dice"), ("dice_road", "mean_dice"), ("iou_tall_tree", "mean_iou")],
)
def test_a_name_belongs_to_its_metric(name: str, metric: str) -> None:
    found = table.metric_of(name)
    assert found is not None and found.name == metric


def test_the_loss_is_not_a_metric_of_the_table() -> None:
    assert table.metric_of("loss") is None


def test_the_confusion_matrix_needs_neither_evaluate_nor_datasets() -> None:
    code = (
        "import sys; from hfseg.metrics import confusion_matrix, scores; "
        "print({'evaluate', 'datasets'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"


def test_dice_chooses_the_best_checkpoint(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=12)
    run = hfseg.finetune(
        dataset="folder", dataset_path=str(data), output_dir=str(tmp_path / "run"),
        model="segformer-tiny", from_scratch=True, crop_size="32x48", augmentation="light",
        mixed_precision="no", dataloader_num_workers=0, learning_rate=3e-2,
        per_device_train_batch_size=4, num_train_epochs=3, metric_for_best_model="mean_dice",
    )  # fmt: skip
    last = max(run.output_dir.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    state = json.loads((last / "trainer_state.json").read_text())
    measured = [log["eval_mean_dice"] for log in state["log_history"] if "eval_mean_dice" in log]
    assert len(measured) == 3 and state["best_metric"] == max(measured)
    assert run.scores["mean_dice"] == pytest.approx(max(measured))
