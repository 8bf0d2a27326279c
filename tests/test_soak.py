"""Thousands of steps with evaluations and checkpoints: nothing grows."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from conftest import make_folder
from launch import environment, finetune_command
from soak import Usage

from hfseg.training.checkpoints import list_checkpoints

STEPS = int(os.environ.get("HFSEG_SOAK_STEPS", "5000"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux: open files are in /proc")
def test_a_long_training_uses_no_more_and_more_memory_files_or_threads(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=40, size=(32, 32))
    temporary, run = tmp_path / "tmp", tmp_path / "run"
    temporary.mkdir()
    command = finetune_command(
        "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(run),
        "--model_name_or_path", "segformer-tiny", "--from_scratch", "--crop_size", "32",
        "--max_steps", str(STEPS), "--per_device_train_batch_size", "2",
        "--save_strategy", "steps", "--save_steps", str(STEPS // 20), "--save_total_limit", "2",
        "--eval_strategy", "steps", "--eval_steps", str(STEPS // 20), "--mixed_precision", "no",
        "--dataloader_num_workers", "1", "--logging_steps", str(STEPS // 100),
    )  # fmt: skip
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        command, env=environment(TMPDIR=str(temporary)), stdout=log, stderr=subprocess.STDOUT
    )
    usage = Usage(process.pid, temporary)
    while "step " not in (tmp_path / "log").read_text():
        assert process.poll() is None, (tmp_path / "log").read_text()[-4000:]
        time.sleep(0.5)
    while process.poll() is None and not (run / "model.safetensors").exists():
        usage.sample()
        time.sleep(1)
    assert process.wait() == 0, (tmp_path / "log").read_text()[-4000:]
    print(f"\n{STEPS} steps\n{usage.report(STEPS / 1000, '1,000 steps')}")
    assert len(list_checkpoints(run)) <= 3
    growth = usage.growth()
    assert growth["memory"] < 60, usage.samples[:: max(len(usage.samples) // 50, 1)]
    assert max(growth["open files"], growth["threads"], growth["temporary files"]) <= 2, growth
