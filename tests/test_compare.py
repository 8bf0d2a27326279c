"""`hfseg compare`: recipes are run, finished runs are read; one table and one figure."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_folder
from launch import REPOSITORY, environment, on_cpu
from PIL import Image

from hfseg.cli import run
from hfseg.labels import LabelSet
from hfseg.visualization.run_comparison import RunResult, comparison_table, plot_comparison
from hfseg.workflows.compare_runs import _prediction_times, compare

RECIPE = """\
dataset_name: folder
model_name_or_path: {model}
from_scratch: true
crop_size: 32x64
augmentation: light
max_steps: 2
eval_strategy: "no"
save_strategy: "no"
per_device_train_batch_size: 2
"""


def run_compare(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "scripts" / "compare.py"), *words]
    env = environment(**on_cpu(bf16=True))
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_table_has_one_column_per_run_and_names_absent_classes() -> None:
    scores = {"eval_mean_iou": 0.5, "eval_mean_accuracy": 0.6, "eval_overall_accuracy": 0.7}
    scores |= {"eval_iou_sky": 0.25, "eval_iou_tall_tree": None}
    results = [RunResult(name, scores, 1.5, 60, 2.25, 12.3) for name in ("first", "second")]
    table = comparison_table(results, LabelSet(("sky", "tall tree")), {"mean_iou": "mean IoU"})
    assert "| metric | first | second |" in table
    assert "| mean IoU (%) | 50.0 | 50.0 |" in table
    assert "| parameters (million) | 1.50 | 1.50 |" in table
    assert "| peak memory (GiB) | 2.25 | 2.25 |" in table
    assert "| IoU tall tree (%) | absent | absent |" in table


def test_figure_has_a_legend_of_the_classes_that_occur(tmp_path: Path) -> None:
    results = [RunResult(name, {"eval_mean_iou": 0.5}, 1.5, 60, None, 12.3) for name in "ab"]
    truth, road = np.zeros((20, 30), np.uint8), np.ones((20, 30), np.uint8)
    truth[:5] = 255
    picture = {"image": Image.new("RGB", (30, 20)), "truth": truth, "predictions": [road, road]}
    labels = LabelSet(("sky", "road", "tree"))
    figure = plot_comparison(results, labels, [picture], tmp_path / "comparison.png")
    legends = [part.legends[0] for part in figure.subfigs if part.legends]
    names = [[text.get_text() for text in legend.get_texts()] for legend in legends]
    assert names[-1] == ["sky", "road", "ignored"]


def test_a_machine_that_slows_down_slows_every_run_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    now, load = 0.0, 1.0

    def predict(image: object) -> SimpleNamespace:
        nonlocal now, load
        now, load = now + load, load * 1.01
        return SimpleNamespace(mask=None)

    monkeypatch.setattr("hfseg.workflows.compare_runs.time.perf_counter", lambda: now)
    first, second = _prediction_times([predict, predict], range(8))
    assert second == pytest.approx(first, rel=0.02)


def test_finished_runs_are_compared_in_a_new_folder(finished_run: Path, tmp_path: Path) -> None:
    again = shutil.copytree(finished_run, tmp_path / "again")
    table = compare([str(finished_run), str(again)], {}, tmp_path / "new" / "comparison")
    assert "| metric | run | again |" in table and "| again | +0.0 |" in table
    assert (tmp_path / "new" / "comparison" / "comparison.md").read_text() == table
    assert (tmp_path / "new" / "comparison" / "comparison.png").stat().st_size > 10_000


@pytest.mark.slow
def test_recipes_and_finished_runs_are_compared(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=13)
    for name, model in (("one", "segformer-tiny"), ("two", "unet-resnet18")):
        (tmp_path / f"{name}.yaml").write_text(RECIPE.format(model=model))
    output = tmp_path / "comparison"
    shared = ("--dataset_path", str(data), "--output_dir", str(output))
    done = run_compare(str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"), *shared)
    assert done.returncode == 0, done.stderr[-4000:]
    table = (output / "comparison.md").read_text()
    assert "| metric | one | two |" in table and table in done.stdout
    for name in ("one", "two"):
        scores = json.loads((output / name / "eval_results.json").read_text())
        assert f"{100 * scores['eval_mean_iou']:.1f}" in table
    assert (output / "comparison.png").stat().st_size > 10_000

    again = run_compare(str(output / "one"), str(tmp_path / "two.yaml"), *shared)
    assert again.returncode == 0, again.stderr[-4000:]
    assert "train_runtime" not in again.stdout  # finished runs are not run again


def test_a_single_run_is_rejected(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("compare", ["quickstart"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: give at least two recipes")
