"""Real processes under `accelerate launch`: two must compute what one computes."""

import functools
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_folder
from launch import BIN, SCRIPT, environment
from safetensors.torch import load_file
from tolerance import UNDECIDED

WORKER = Path(__file__).with_name("worker.py")


EVERY_LOSS = "ce+focal+dice+jaccard+tversky+lovasz+ohem"


def launch_commands(processes: int, nodes: int) -> list[list[str]]:
    """`accelerate launch` on each node, all of them on this machine."""
    address = ["--main_process_port", "0"]
    if nodes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        address = ["--main_process_ip", "127.0.0.1", "--main_process_port", port]
    return [
        [
            str(BIN / "accelerate"), "launch", "--multi_gpu", "--num_processes", str(processes),
            "--num_machines", str(nodes), "--machine_rank", str(rank), *address,
            "--mixed_precision", "no", "--dynamo_backend", "no",
        ]
        for rank in range(nodes)
    ]  # fmt: skip


def run_worker(
    mode: str,
    data: Path,
    output: Path,
    batch: int,
    accumulation: int,
    processes: int,
    nodes: int = 1,
    loss: str = EVERY_LOSS,
    model: str = "segformer-tiny",
):
    """Run the worker on all ranks; what each of them reported."""
    arguments = [mode, str(data), str(output), str(batch), str(accumulation), loss, model]
    launches = [[sys.executable]] if processes == 1 else launch_commands(processes, nodes)
    jobs = [
        subprocess.Popen(
            [*launch, str(WORKER), *arguments],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for launch in launches
    ]
    for job in jobs:
        printed, _ = job.communicate(timeout=300)
        assert job.returncode == 0, printed[-4000:]
    reports = [json.loads(path.read_text()) for path in sorted(output.glob("rank-*.json"))]
    assert [report["world_size"] for report in reports] == [processes] * processes
    return reports


def assert_same_evaluation(report: dict, expected: dict) -> None:
    """The same pixels were counted; batches of other sizes may give a few near ties to others."""
    found, confusion = np.array(report["confusion"]), np.array(expected["confusion"])
    np.testing.assert_array_equal(found.sum(1), confusion.sum(1))
    assert np.abs(found - confusion).sum() <= 2 * UNDECIDED * confusion.sum()
    for name in ("eval_mean_iou", "eval_loss"):
        assert report["scores"][name] == pytest.approx(expected["scores"][name], abs=UNDECIDED)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("processes") / "data", count=16)


@pytest.fixture(scope="module")
def whole_batch_of(data: Path, tmp_path_factory: pytest.TempPathFactory):
    """Weights and loss of a model after one batch of 8 in one process."""

    @functools.cache
    def update(model: str) -> tuple[dict[str, torch.Tensor], float]:
        output = tmp_path_factory.mktemp("whole")
        report = run_worker("update", data, output, 8, 1, processes=1, model=model)[0]
        assert report["samples"] == 8
        return load_file(output / "weights.safetensors"), report["loss"]

    return update


@pytest.fixture(scope="module")
def whole_batch(whole_batch_of):
    return whole_batch_of("segformer-tiny")


@pytest.mark.parametrize(
    ("batch", "accumulation", "processes"),
    [
        (2, 4, 1),
        pytest.param(4, 1, 2, marks=pytest.mark.slow),
        pytest.param(2, 2, 2, marks=pytest.mark.slow),
    ],
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


@pytest.mark.slow
def test_an_evaluation_before_the_training_leaves_the_processes_together(data, tmp_path) -> None:
    first, second = run_worker("evaluate-first", data, tmp_path, 2, 1, processes=2, loss="ce")
    assert first["sums"] == second["sums"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["eomt-vit-small", "mask2former-swin-tiny"])
@pytest.mark.parametrize(
    ("batch", "accumulation", "processes"),
    [(2, 4, 1), (2, 2, 2)],
    ids=["accumulation 4 x batch 2", "2 processes x 2 x batch 2"],
)
def test_first_update_of_a_universal_model_is_that_of_the_whole_batch(
    data: Path,
    whole_batch_of,
    tmp_path: Path,
    model: str,
    batch: int,
    accumulation: int,
    processes: int,
) -> None:
    expected, expected_loss = whole_batch_of(model)
    reports = run_worker("update", data, tmp_path, batch, accumulation, processes, model=model)
    found = load_file(tmp_path / "weights.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert reports[0]["loss"] == pytest.approx(expected_loss, rel=1e-5)


def test_two_processes_count_the_same_confusion_matrix_as_one(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=14)  # 7 to score: no multiple of 2 x 2
    alone = run_worker("evaluate", data, tmp_path / "one", 2, 1, processes=1)[0]
    together = run_worker("evaluate", data, tmp_path / "two", 2, 1, processes=2)
    assert alone["images"] == alone["samples"] == 7
    for report in together:
        assert report["images"] == 7
        assert_same_evaluation(report, alone)


@pytest.mark.slow
def test_two_nodes_compute_what_one_process_does(data: Path, whole_batch, tmp_path: Path) -> None:
    expected, expected_loss = whole_batch
    reports = run_worker("update", data, tmp_path / "update", 2, 2, processes=2, nodes=2)
    weights = load_file(tmp_path / "update" / "weights.safetensors")
    worst = max((weights[name] - expected[name]).abs().max().item() for name in expected)
    assert worst < 1e-5
    assert reports[0]["loss"] == pytest.approx(expected_loss, abs=1e-5)

    alone = run_worker("evaluate", data, tmp_path / "one", 2, 1, processes=1)[0]
    together = run_worker("evaluate", data, tmp_path / "two", 2, 1, processes=2, nodes=2)
    for report in together:
        assert_same_evaluation(report, alone)


@pytest.mark.slow
def test_two_machines_train_the_weights_of_one_with_two_processes(
    data: Path, tmp_path: Path
) -> None:
    def weights(nodes: int) -> dict[str, torch.Tensor]:
        output = tmp_path / str(nodes)
        flags = [
            str(SCRIPT), "--dataset_name", "folder", "--dataset_path", str(data),
            "--model_name_or_path", "segformer-tiny", "--from_scratch", "--crop_size", "32",
            "--per_device_train_batch_size", "2", "--max_steps", "4", "--mixed_precision", "no",
            "--eval_strategy", "no", "--output_dir", str(output),
            "--optim", "sgd", "--learning_rate", "0.01",  # Adam would enlarge rounding
        ]  # fmt: skip
        threads = environment(OMP_NUM_THREADS="1")
        jobs = [
            subprocess.Popen(
                [*launch, *flags], env=threads, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True,
            )
            for launch in launch_commands(2, nodes)
        ]  # fmt: skip
        for job in jobs:
            printed, _ = job.communicate(timeout=600)
            assert job.returncode == 0, printed[-4000:]
        return load_file(output / "model.safetensors")

    one, two = weights(nodes=1), weights(nodes=2)
    for name, tensor in one.items():  # gloo may add in another order
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
