"""Flags and their mistakes: one clear sentence, exit code 2, nothing written."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from launch import SCRIPT, environment
from PIL import Image

from hfseg.cli import run_main


def run_script(*flags: str, cwd: Path) -> tuple[int, str]:
    """Exit code and stderr of the script, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *flags],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture):
    """The script's `main` in this process, where torch is imported already."""
    script = runpy.run_path(str(SCRIPT))
    monkeypatch.chdir(tmp_path)

    def run(*flags: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags])
        with pytest.raises(SystemExit) as exit_:
            run_main(script["main"])
        return exit_.value.code, capsys.readouterr().err

    return run


def assert_one_sentence(done: tuple[int, str], *words: str) -> None:
    code, printed = done
    assert code == 2, printed
    assert "Traceback" not in printed
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, printed
    for word in words:
        assert word in lines[0]


def test_help_answers_without_importing_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), "--help"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    for flag in ("--dataset_path", "--crop_size", "--learning_rate", "--push_to_hub"):
        assert flag in done.stdout
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not modules & {"torch", "transformers", "datasets", "matplotlib"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--learning_rat", "1"], ["--learning_rat", "did you mean", "learning_rate"]),
        (["--learning_rate", "fast"], ["learning_rate", "fast"]),
        (["--config", "quickstrat"], ["quickstrat", "did you mean quickstart"]),
        (["--dataset_name", "camsek"], ["camsek", "did you mean 'camseq'"]),
        (["--dataset_name", "folder"], ["--dataset_path"]),
        (["--dataset_name", "folder", "--dataset_path", "nowhere"], ["nowhere", "no such folder"]),
        (["--crop_size", "12y"], ["--crop_size", "12y"]),
        (["--augmentation", "lots"], ["--augmentation", "lots", "standard"]),
        (["--model_config", "stride"], ["--model_config", "KEY=VALUE"]),
        (["--mixed_precision", "int4"], ["--mixed_precision", "bf16"]),
        (["--resume_from_checkpoint", "gone"], ["gone", "no such folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_flag_is_told_in_one_sentence(tmp_path: Path, run_here, flags, words) -> None:
    assert_one_sentence(run_here(*flags), *words)
    assert not (tmp_path / "runs").exists()


def break_color(data: Path) -> list[str]:
    (data / "classes.txt").unlink()
    (data / "label_colors.txt").write_text("0 0 0 ground\n200 0 0 wall\n")
    mask = np.zeros((48, 64, 3), dtype=np.uint8)
    mask[:10] = (7, 8, 9)
    for file in (data / "masks").iterdir():
        Image.fromarray(mask).save(file)
    return ["(7, 8, 9)", "640 pixels", "masks"]


def break_size(data: Path) -> list[str]:
    Image.fromarray(np.zeros((40, 64), dtype=np.uint8)).save(data / "masks" / "004.png")
    return ["004.png", "64 x 40", "64 x 48"]


def break_id(data: Path) -> list[str]:
    Image.fromarray(np.full((48, 64), 9, dtype=np.uint8)).save(data / "masks" / "004.png")
    return ["004.png", "value 9"]


def break_split(data: Path) -> list[str]:
    make_folder(data / "train", count=2)
    (data / "val" / "images").mkdir(parents=True)
    (data / "val" / "masks").mkdir()
    return ["val/images", "no images"]


def break_pair(data: Path) -> list[str]:
    (data / "masks" / "004.png").unlink()
    return ["004.png", "no mask"]


@pytest.mark.parametrize("damage", [break_color, break_size, break_id, break_split, break_pair])
def test_bad_data_is_told_in_one_sentence_and_nothing_is_written(
    tmp_path: Path, run_here, damage
) -> None:
    data = make_folder(tmp_path / "data", count=12)
    words = damage(data)
    done = run_here(
        "--dataset_name", "folder", "--dataset_path", str(data),
        "--model_name_or_path", "segformer-tiny", "--from_scratch",
    )  # fmt: skip
    assert_one_sentence(done, *words)
    assert not (tmp_path / "runs").exists()


def test_wrong_model_name_is_told_in_one_sentence(tmp_path: Path, run_here) -> None:
    data = make_folder(tmp_path / "data", count=12)
    source = ["--dataset_name", "folder", "--dataset_path", str(data)]
    done = run_here(*source, "--model_name_or_path", "segformr-b0")
    assert_one_sentence(done, "segformr-b0", "did you mean segformer-b0")


def test_a_real_process_ends_with_code_2_and_one_sentence(tmp_path: Path) -> None:
    done = run_script("--dataset_name", "folder", "--dataset_path", "nowhere", cwd=tmp_path)
    assert_one_sentence(done, "nowhere", "no such folder")
    assert not (tmp_path / "runs").exists()
