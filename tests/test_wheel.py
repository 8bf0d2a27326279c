"""The wheel alone, outside a clone: the command, the recipes, the demo and the Space."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, Hub


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install` unpacks, in front of everything else on the path."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def hfseg(installed: Path, cwd: Path, *words: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "hfseg", *words], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_wheel_holds_all_that_the_commands_need(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        assert b"hfseg = hfseg.cli:main" in archive.read(entry)
    assert {
        "hfseg/config/recipes/quickstart.yaml",
        "hfseg/config/accelerate/multi_gpu.yaml",
        "hfseg/cards/model_card_template.md",
        "hfseg/demo/app.py",
    } <= names


def test_the_command_trains_and_predicts_in_an_empty_folder(installed: Path, tmp_path) -> None:
    small = ("--max_steps", "1", "--max_train_samples", "4", "--max_eval_samples", "2")
    printed = hfseg(installed, tmp_path, "finetune", *small)
    assert printed.splitlines()[-1].startswith("eval_mean_iou ")
    run = tmp_path / "runs" / "quickstart"
    photo = run / "report" / "predictions.png"
    flags = ("--model_name_or_path", str(run), "--output_dir", "out")
    assert "1 segmented, in out" in hfseg(installed, tmp_path, "predict", *flags, str(photo))


def test_the_demo_starts_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert "--models" in hfseg(installed, tmp_path, "demo", "--help")


def test_a_space_is_pushed_from_the_wheel(installed: Path, hub: Hub, tmp_path: Path) -> None:
    hub.server.add("model", "me/roofs", {"config.json": b"{}"})
    words = ("push", "space", "--repo_id", "me/roof-demo", "--model", "me/roofs")
    hub.run("-m", "hfseg", *words, PYTHONPATH=str(installed))
    files = set(hub.server.repos["space", "me/roof-demo"].files)
    assert {"app.py", "requirements.txt", "demo/app.py", "hfseg/__init__.py"} <= files
    assert not any(name.startswith("hfseg/demo/") for name in files)
