"""Real processes under `accelerate launch`: two must compute what one computes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_folder
from launch import BIN, environment
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("worker.py")


EVERY_LOSS = "ce+focal+dice+jaccard+tversky+lovasz+ohem"


def run_worker(
    mode: str,
    data: Path,
    output: Path,
    batch: int,
    accumulation: int,
    processes: int,
    loss: str = EVERY_LOSS,
):
    """Run the worker on all ranks; what each of them reported."""
    launch = [sys.executable]
    if processes > 1:
        launch = [
            str(BIN / "accelerate"), "launch", "--multi_gpu", "--num_processes", str(processes),
            "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--main_process_port", "0",
        ]  # fmt: skip
    arguments = [mode, str(data), str(output), str(batch), str(accumulation), loss]
    done = subprocess.run(
        [*launch, str(WORKER), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    reports = [json.loads(path.read_text()) for path in sorted(output.glob("rank-*.json"))]
    assert [report["world_size"] for report in reports] == [processes] * processes
    return reports


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("processes") / "data", count=16)


@pytest.fixture(scope="module")
def whole_batch(data: Path, tmp_path_factory: pytest.TempPathFactory):
    output = tmp_path_factory.mktemp("whole")
    report = run_worker("update", data, output, batch=8, accumulation=1, processes=1)[0]
    assert report["samples"] == 8
    return load_file(output / "weights.safetensors"), report["loss"]


@pytest.mark.parametrize(
    ("batch", "accumulation", "processes"),
    [(2, 4, 1), (4, 1, 2), (2, 2, 2)],
    ids=["accumulation 4 x batch 2", "2 processes x batch 4", "2 processes x 2 x batch 2"],
)
def test_first_update_is_that_of_the_whole_batch(
    data: Path, whole_batch, tmp_path: Path, batch: int, accumulation: int, processes: int
) -> None:
    expected, expected_loss = whole_batch
    reports = run_worker("update", data, tmp_path, batch, accumulation, processes)
    weights = load_file(tmp_path / "weights.safetensors")
    worst = max((weights[name] - expected[name]).abs().max().item() for name in expected)
    assert worst < 1e-5
    assert reports[0]["loss"] == pytest.approx(expected_loss, abs=1e-5)


def test_two_processes_count_the_same_confusion_matrix_as_one(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=14)  # 7 to score: no multiple of 2 x 2
    alone = run_worker("evaluate", data, tmp_path / "one", 2, 1, processes=1)[0]
    together = run_worker("evaluate", data, tmp_path / "two", 2, 1, processes=2)
    assert alone["images"] == alone["samples"] == 7
    for report in together:
        assert report["confusion"] == alone["confusion"]
        assert report["images"] == 7
        assert report["scores"]["eval_mean_iou"] == alone["scores"]["eval_mean_iou"]
        assert report["scores"]["eval_loss"] == pytest.approx(alone["scores"]["eval_loss"])
