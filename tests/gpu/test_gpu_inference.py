"""Evaluation and prediction on a GPU: the answers of the CPU, within what rounding moves.

A pixel changes its class only where two logits are nearly equal. In float32 that is far below one
pixel in a hundred; bf16 has 8 bits of precision instead of 24, so more pixels change.
"""

import csv
import json
from pathlib import Path

import pytest
from launch import REPOSITORY, run_finetune
from on_gpu import REHEARSAL, need_gpus, run_on_gpu, run_task
from tiny_sams import FAMILY

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short quickstart, from the CPU."""
    need_gpus()
    run = tmp_path_factory.mktemp("gpu") / "run"
    run_finetune(
        "--max_steps=20", "--warmup_steps=2", "--eval_steps=20", "--save_steps=20",
        "--max_eval_samples=8", f"--output_dir={run}",
    )  # fmt: skip
    return run


def test_an_evaluation_gives_the_scores_of_the_cpu(trained: Path, tmp_path: Path) -> None:
    scores = {}
    for device, gpus in (("cpu", 0), ("gpu", 1)):
        run_on_gpu(
            REPOSITORY / "scripts" / "evaluate_model.py", f"--model_name_or_path={trained}",
            "--dataset_name=toyscapes", "--max_eval_samples=20",
            f"--output_dir={tmp_path / device}", gpus=gpus,
        )  # fmt: skip
        scores[device] = json.loads((tmp_path / device / "results.json").read_text())
        with (tmp_path / device / "images.csv").open(newline="") as file:
            assert len(list(csv.reader(file))) == 21
    # 0.002 of mean IoU: one pixel in 500, where two classes score alike
    assert scores["gpu"]["mean_iou"] == pytest.approx(scores["cpu"]["mean_iou"], abs=2e-3)


@pytest.mark.parametrize(
    ("way", "least"), [("fp32", 0.995), ("tiles", 0.995), ("compiled", 0.995), ("bf16", 0.95)]
)
def test_a_segmenter_gives_the_masks_of_the_cpu(trained: Path, way: str, least: float) -> None:
    report = run_task("segment", trained, way)
    assert report["classes"] > 1
    assert report["agreement"] >= least
    assert REHEARSAL or report["peak_memory"] > 0


@pytest.mark.parametrize("kind", FAMILY)
def test_sam_gives_the_masks_of_the_cpu(kind: str) -> None:
    need_gpus()
    report = run_task("sam", kind)
    assert report["agreement"] >= 0.99 and report["score_difference"] < 1e-2
    assert report["masks"] > 0
    assert REHEARSAL or report["peak_memory"] > 0
