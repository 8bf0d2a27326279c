"""SIGTERM or Ctrl-C saves a checkpoint and ends the run; the resumed run ends as if nothing had
happened."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import make_folder
from launch import environment, finetune_command, run_finetune
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset

from hfseg.training.checkpoints import STAGING, list_checkpoints, publish, what_is_missing
from hfseg.training.preemption import StopWithParent

EPOCHS = 12
STEPS_PER_EPOCH = 5


class SlowNumbers(Dataset):
    """20 numbers, of which a worker can't have read many when the first has arrived."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> int:
        time.sleep(0.05)
        return index


def flags(data: Path, output: Path) -> list[str]:
    return [
        "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
        "--model_name_or_path", "segformer-tiny", "--from_scratch", "--augmentation", "light",
        "--crop_size", "32x48", "--num_train_epochs", str(EPOCHS), "--save_total_limit", "1",
        "--per_device_train_batch_size", "2", "--save_strategy", "steps", "--save_steps", "60",
        "--eval_strategy", "no", "--dataloader_num_workers", "0", "--mixed_precision", "no",
        "--logging_steps", "1",
    ]  # fmt: skip


def stop(command: list[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """A signal to every process of the job, as SLURM and terminals send it, once training runs."""
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    printed = ""
    for line in process.stdout:
        printed += line
        if "  loss " in line:
            break
    os.killpg(process.pid, number)
    signaled = time.monotonic()
    rest, _ = process.communicate(timeout=120)
    print(f"\nended {time.monotonic() - signaled:.1f} s after {signal.Signals(number).name}")
    return process.returncode, printed + rest


@pytest.mark.slow
def test_sigterm_saves_and_the_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=13)
    run_finetune(*flags(data, tmp_path / "unstopped"))
    workers = "--dataloader_num_workers", "2"
    code, printed = stop(finetune_command(*flags(data, tmp_path / "run"), *workers))
    assert code == 143, printed
    (checkpoint,) = list_checkpoints(tmp_path / "run")
    assert f"stopped by SIGTERM, saved as {checkpoint}" in printed
    assert what_is_missing(checkpoint) is None
    assert 0 < int(checkpoint.name.split("-")[1]) < EPOCHS * STEPS_PER_EPOCH
    assert not (tmp_path / "run" / "model.safetensors").exists()

    run_finetune(*flags(data, tmp_path / "run"), "--resume_from_checkpoint", "true")
    ours = load_file(tmp_path / "run" / "model.safetensors")
    theirs = load_file(tmp_path / "unstopped" / "model.safetensors")
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def test_ctrl_c_saves_and_the_line_it_prints_goes_on(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=13)
    command = finetune_command(*flags(data, tmp_path / "run"), "--dataloader_num_workers", "2")
    code, printed = stop(command, signal.SIGINT)
    assert code == 130, printed
    (checkpoint,) = list_checkpoints(tmp_path / "run")
    assert what_is_missing(checkpoint) is None
    said = printed.splitlines()[-1]
    assert said.startswith(f"stopped by Ctrl-C, saved as {checkpoint}; resume with: ")
    words = said.partition("hfseg finetune ")[2].split()
    assert f"resuming from {checkpoint}" in run_finetune(*words).stdout.splitlines()
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert what_is_missing(tmp_path / "run" / f"checkpoint-{EPOCHS * STEPS_PER_EPOCH}") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_data_workers_outlive_a_signal_that_is_not_from_their_parent(number: int) -> None:
    batches = iter(DataLoader(SlowNumbers(), num_workers=2, worker_init_fn=StopWithParent()))
    found = [next(batches), next(batches)]  # one of each worker: both have started
    for worker in batches._workers:
        subprocess.run(["kill", f"-{number}", str(worker.pid)], check=True)
    assert [int(number) for number in (*found, *batches)] == list(range(len(SlowNumbers())))


@pytest.mark.parametrize("method", ["fork", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_data_workers_end_when_their_parent_wants_it(method: str) -> None:
    loader = DataLoader(
        SlowNumbers(), num_workers=1, worker_init_fn=StopWithParent(),
        multiprocessing_context=method,
    )  # fmt: skip
    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers
    worker.terminate()
    worker.join(timeout=10)
    assert not worker.is_alive()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_processes_stop_at_one_step(tmp_path: Path, number: int) -> None:
    data = make_folder(tmp_path / "data", count=13)
    workers = "--dataloader_num_workers", "1"
    command = finetune_command(*flags(data, tmp_path / "run"), *workers, processes=2)
    code, printed = stop(command, number)
    assert code != 0
    (checkpoint,) = list_checkpoints(tmp_path / "run")
    assert f"saved as {checkpoint}" in printed
    assert what_is_missing(checkpoint) is None
    assert len(list(checkpoint.glob("rng_state_*.pth"))) == 2


def test_a_checkpoint_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    staging = tmp_path / STAGING
    for folder, text in ((tmp_path, "old"), (staging, "new")):
        (folder / "checkpoint-3").mkdir(parents=True)
        (folder / "checkpoint-3" / "weights").write_text(text)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-3"]
    publish(staging, tmp_path)
    assert (tmp_path / "checkpoint-3" / "weights").read_text() == "new"
    assert not staging.exists()
