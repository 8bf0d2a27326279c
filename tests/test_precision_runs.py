"""Runs on a CPU with bfloat16 instructions and on one without, whichever this is.

Any CPU computes bfloat16, only slowly without them, so what runs here runs there.
"""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from conftest import make_folder
from launch import environment, finetune_command, on_cpu

from hfseg.api import evaluate
from hfseg.config.resolve import parse, training_parser
from hfseg.metrics.calibration import CALIBRATION_ERROR
from hfseg.workflows.finetune import finetune
from hfseg.workflows.tune import tune

FLAGS = (
    "--dataset_name", "folder", "--model_name_or_path", "segformer-tiny", "--from_scratch",
    "--crop_size", "32x48", "--max_steps", "1", "--per_device_train_batch_size", "2",
    "--max_train_samples", "4", "--max_eval_samples", "2", "--dataloader_num_workers", "0",
    "--eval_strategy", "steps", "--eval_steps", "1", "--save_strategy", "no",
    "--load_best_model_at_end", "false",
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    return ["--dataset_path", str(make_folder(tmp_path / "data", count=13))]


def detect(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bf16)


def trained_in_bf16(run: Path) -> bool:
    return torch.load(run / "training_args.bin", weights_only=False).bf16


@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_trains_in_bf16_where_the_cpu_computes_it(tmp_path, data, monkeypatch, bf16) -> None:
    detect(monkeypatch, bf16)
    output = tmp_path / "run"
    run = finetune(parse([*FLAGS, *data, "--output_dir", str(output)]))
    assert 0 <= run.scores["mean_iou"] <= 1
    assert trained_in_bf16(output) == bf16
    assert json.loads((output / "config.json").read_text())["dtype"] == "float32"
    scores = evaluate(output, "folder", dataset_path=data[1], max_eval_samples=2,
                      output_dir=str(tmp_path / "scores"))  # fmt: skip
    for name in ("mean_iou", CALIBRATION_ERROR):  # whatever the precision of the training
        assert scores[name] == pytest.approx(run.scores[name], abs=1e-6)


def test_a_search_runs_on_a_cpu_with_bf16(tmp_path, data, monkeypatch) -> None:
    detect(monkeypatch, bf16=True)
    (tmp_path / "space.yaml").write_text("search: {learning_rate: [0.001, 0.002]}\n")
    words = ["--config", str(tmp_path / "space.yaml"), *FLAGS, *data]
    words += ["--output_dir", str(tmp_path / "search")]
    study = tune(training_parser().parse(words), trials=1)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "bf16"), [("no", False), ("bf16", True)])
def test_precision_of_accelerate_launch_is_followed(tmp_path, data, launcher, bf16) -> None:
    output = tmp_path / "run"
    command = finetune_command(*FLAGS, *data, "--output_dir", str(output), processes=2)
    command[command.index("--mixed_precision") + 1] = launcher
    subprocess.run(command, env=environment(**on_cpu(bf16=False)), check=True)
    assert trained_in_bf16(output) == bf16
