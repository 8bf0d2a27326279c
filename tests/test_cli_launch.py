"""`hfseg finetune --num_processes N`: the command launches itself."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launch import environment

from hfseg.cli.first_error import is_first_to_fail
from hfseg.cli.launch import split_launch_flags, use_all_cores


def test_flags_of_the_launcher_are_told_apart_and_shared_ones_stay() -> None:
    words = ["--num_processes", "2", "--max_steps=3", "--multi_gpu", "--mixed_precision", "no"]
    launcher, ours = split_launch_flags(words, {"max_steps", "mixed_precision"})
    assert launcher == ["--num_processes", "2", "--multi_gpu"]
    assert ours == ["--max_steps=3", "--mixed_precision", "no"]


@pytest.mark.slow
def test_an_error_of_two_processes_is_one_sentence_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hfseg", "finetune", "--num_processes", "2",
         "--dataset_name", "folder", "--dataset_path", "nowhere"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: --dataset_path nowhere: no such folder; check the path\n"
    printed = done.stdout.splitlines()
    assert [line for line in printed if not line.startswith("[Gloo] ")] == []  # some torch versions


def test_the_first_process_of_a_launch_to_fail_reports(tmp_path: Path, monkeypatch) -> None:
    assert is_first_to_fail()  # not launched
    said = []
    for rank in ("1", "0"):
        (tmp_path / rank).mkdir()
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / rank / "error.json"))
        said.append(is_first_to_fail())
    assert said == [True, False]


def test_the_only_process_of_a_machine_uses_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr("hfseg.cli.launch.usable_cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what accelerate sets
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    use_all_cores()
    assert chosen == []
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    use_all_cores()
    assert chosen == [6]
