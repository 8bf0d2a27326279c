"""Every recipe takes two steps on its dataset, from random weights, and leaves a complete run."""

import json
from pathlib import Path

import pytest
from launch import on_cpu, run_finetune
from layouts import data_for

from hfseg.config.recipe import read_recipe, recipe_names

LARGE = ("--crop_size", "512", "--model_config", "image_size=512")
"""Instead of 1024, which takes more memory than most machines have."""


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True], ids=["CPU without bf16", "CPU with bf16"])
@pytest.mark.parametrize("name", recipe_names())
def test_recipe_runs(name: str, bf16: bool, tmp_path: Path) -> None:
    dataset = read_recipe(name).get("dataset_name", "folder")
    data, kind = data_for(dataset, tmp_path / "data")
    where = ["--dataset_path", str(data)] if data else []
    done = run_finetune(
        "--config", name, "--dataset_name", dataset, *where, "--from_scratch",
        "--output_dir", str(tmp_path / "run"), "--max_steps", "2", "--max_train_samples", "8",
        "--max_eval_samples", "2", "--per_device_train_batch_size", "2",
        "--per_device_eval_batch_size", "1", "--eval_strategy", "steps", "--eval_steps", "2",
        "--save_strategy", "steps", "--save_steps", "2", "--logging_steps", "1",
        "--dataloader_num_workers", "0", *(LARGE if "-eomt-large" in name else ()), **on_cpu(bf16),
    )  # fmt: skip
    scores = json.loads((tmp_path / "run" / "eval_results.json").read_text())
    seconds = json.loads((tmp_path / "run" / "train_results.json").read_text())["train_runtime"]
    print(f"\n{name}: {kind} data, 2 steps and an evaluation in {seconds:.0f} s")
    assert f"eval_mean_iou {scores['eval_mean_iou']:.4f}" in done.stdout
    assert 0 <= scores["eval_mean_iou"] <= 1
    assert (tmp_path / "run" / "report" / "predictions.png").is_file()
