"""A run that is killed twenty times, at random moments, ends as if it never had been."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import make_folder
from launch import environment, finetune_command, run_finetune
from safetensors.torch import load_file

from hfseg.training.checkpoints import list_checkpoints, what_is_missing

KILLS = 20
SEED = 6


def flags(data: Path, output: Path) -> list[str]:
    # 10 images in batches of 2 are 5 steps an epoch; a checkpoint every second step
    return [
        "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
        "--model_name_or_path", "segformer-tiny", "--from_scratch",
        "--model_config", "drop_path_rate=0.1", "classifier_dropout_prob=0.1",
        "--augmentation", "standard", "--crop_size", "32x48", "--num_train_epochs", "30",
        "--per_device_train_batch_size", "2", "--dataloader_num_workers", "0",
        "--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "3",
        "--eval_strategy", "steps", "--eval_steps", "2", "--logging_steps", "1",
        "--mixed_precision", "no",
    ]  # fmt: skip


def run_until_killed(command: list[str], seconds: float) -> bool:
    """SIGKILL, `seconds` after the first step was logged; whether the run was still going."""
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    printed = ""
    for line in process.stdout:
        printed += line
        if "  loss " in line:
            break
    else:
        raise AssertionError(f"the run ended before its first step\n{printed[-4000:]}")
    time.sleep(seconds)
    going = process.poll() is None
    if going:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return going


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=13)
    started = time.monotonic()
    run_finetune(*flags(data, tmp_path / "unstopped"))
    print(f"\nuninterrupted: {time.monotonic() - started:.0f} s")

    rng, output = random.Random(SEED), tmp_path / "run"
    command = finetune_command(*flags(data, output), "--resume_from_checkpoint", "true")
    kills, last = 0, 0
    while kills < KILLS and run_until_killed(command, rng.uniform(0, 1.5)):
        kills += 1
        steps = [int(path.name.split("-")[1]) for path in list_checkpoints(output)]
        damaged = [path for path in list_checkpoints(output)[-1:] if what_is_missing(path)]
        assert damaged == []
        assert not steps or max(steps) >= last, "a checkpoint was lost"
        last = max([last, *steps])
        print(f"kill {kills:2}: checkpoints {steps}")
    assert kills == KILLS, "the run ended too early: give it more steps"
    run_finetune(*flags(data, output), "--resume_from_checkpoint", "true")

    ours = load_file(output / "model.safetensors")
    theirs = load_file(tmp_path / "unstopped" / "model.safetensors")
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    end = list_checkpoints(output)[-1].name
    ours = load_file(output / end / "model.safetensors")
    theirs = load_file(tmp_path / "unstopped" / end / "model.safetensors")
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
