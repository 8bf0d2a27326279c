"""A run killed with SIGKILL and resumed ends with the weights of the run that never stopped."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import make_folder
from launch import environment, finetune_command, run_finetune
from safetensors.torch import load_file
from tolerance import UNDECIDED

from hfseg.training.checkpoints import last_complete_checkpoint, list_checkpoints, what_is_missing


def flags(data: Path, output: Path, augmentation: str, workers: int) -> list[str]:
    # 10 training images in batches of 2 are 5 steps an epoch: step 3 is in the middle of one.
    # Dropout and drop path are on, so the random state must come back too.
    return [
        "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
        "--model_name_or_path", "segformer-tiny", "--from_scratch",
        "--model_config", "drop_path_rate=0.1", "classifier_dropout_prob=0.1",
        "--augmentation", augmentation, "--crop_size", "32x48", "--learning_rate", "1e-3",
        "--num_train_epochs", "4", "--per_device_train_batch_size", "2",
        "--save_strategy", "steps", "--save_steps", "3",
        "--eval_strategy", "steps", "--eval_steps", "3",
        "--dataloader_num_workers", str(workers), "--mixed_precision", "no",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("resume") / "data", count=13)


@pytest.fixture(scope="module")
def unstopped(data: Path, tmp_path_factory: pytest.TempPathFactory):
    """Output folder of the run that was never stopped, by augmentation."""
    folders: dict[str, Path] = {}

    def run(augmentation: str) -> Path:
        if augmentation not in folders:
            output = folders[augmentation] = tmp_path_factory.mktemp("unstopped") / "run"
            run_finetune(*flags(data, output, augmentation, workers=0))
        return folders[augmentation]

    return run


def kill_in_mid_epoch(command: list[str], output: Path) -> None:
    """SIGKILL the run and its workers once step 3 of 5 is saved."""
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 600  # a busy machine takes its time
    while not (output / "checkpoint-3" / "trainer_state.json").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (output / "model.safetensors").exists()


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = load_file(first), load_file(second)
    assert one.keys() == two.keys()
    different = [name for name in one if not torch.equal(one[name], two[name])]
    assert different == []


def check_resume(data: Path, unstopped, output: Path, augmentation: str, workers: int) -> None:
    command = flags(data, output, augmentation, workers)
    kill_in_mid_epoch(finetune_command(*command), output)
    run_finetune(*command, "--resume_from_checkpoint", "true")
    last = list_checkpoints(output)[-1].name
    reference = unstopped(augmentation)
    assert_same_weights(output / last / "model.safetensors", reference / last / "model.safetensors")
    assert_same_weights(output / "model.safetensors", reference / "model.safetensors")


def test_killed_run_resumes_to_the_same_weights(data: Path, unstopped, tmp_path: Path) -> None:
    check_resume(data, unstopped, tmp_path / "run", "standard", workers=2)


@pytest.mark.slow
@pytest.mark.parametrize(("augmentation", "workers"), [("standard", 0), ("light", 0), ("light", 2)])
def test_killed_run_resumes_to_the_same_weights_in_every_setting(
    data: Path, unstopped, tmp_path: Path, augmentation: str, workers: int
) -> None:
    check_resume(data, unstopped, tmp_path / "run", augmentation, workers)


def test_best_model_at_the_end_is_the_best_checkpoint(unstopped) -> None:
    import json

    output = unstopped("standard")
    state = json.loads((list_checkpoints(output)[-1] / "trainer_state.json").read_text())
    best = Path(state["best_model_checkpoint"])
    assert best.is_dir()
    assert_same_weights(output / "model.safetensors", best / "model.safetensors")
    scores = json.loads((output / "eval_results.json").read_text())
    assert scores["eval_mean_iou"] == pytest.approx(state["best_metric"], abs=UNDECIDED)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("model.safetensors", "model.safetensors is truncated"),
        ("trainer_state.json", "trainer_state.json is truncated"),
        (None, "optimizer.pt is missing"),
    ],
)
def test_half_written_checkpoint_is_skipped_with_a_warning(
    unstopped, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str | None, reason: str
) -> None:
    whole = list_checkpoints(unstopped("standard"))[-1]
    shutil.copytree(whole, tmp_path / "checkpoint-3")
    broken = tmp_path / "checkpoint-6"
    shutil.copytree(whole, broken)
    if damage is None:
        (broken / "optimizer.pt").unlink()
    else:
        content = (broken / damage).read_bytes()
        (broken / damage).write_bytes(content[: len(content) // 2])
    assert what_is_missing(broken) == reason
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-3"
    assert "checkpoint-6" in caplog.text and reason in caplog.text
