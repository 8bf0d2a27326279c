"""Flags and their mistakes: one clear sentence, exit code 2, nothing written."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from launch import SCRIPT, environment
from PIL import Image

from hfseg.cli import run as run_command


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
    """The command in this process, where torch is imported already."""
    monkeypatch.chdir(tmp_path)

    def run(*flags: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as exit_:
            run_command("finetune", flags)
        return exit_.value.code, capsys.readouterr().err

    return run


def assert_one_sentence(done: tuple[int, str], *words: str) -> None:
    code, printed = done
    assert code == 2, printed
    assert "Traceback" not in printed
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, printed
    for word in words:
        assert word in printed


def test_help_shows_groups_defaults_and_the_values_of_the_recipe(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        run_command("finetune", ["--config", "camseq-unet-resnet50", "--help"])
    assert exit_.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in (
        "data:",
        "model:",
        "training:",
        "(default: unet-resnet50)",
        "(default: 360x480)",
        "{time,group}",
        "--learning_rate",
        "(default: 0.0005)",
    ):
        assert words in printed
    assert "--torch_empty_cache_steps" not in printed
    assert "The defaults below are those of the recipe camseq-unet-resnet50." in printed


def test_help_says_whose_defaults_it_shows_and_where_the_others_are(capsys) -> None:
    own = ["--dataset_name", "folder"]
    for command, flags in (("finetune", []), ("finetune", own), ("tune", own)):
        with pytest.raises(SystemExit):
            run_command(command, [*flags, "--help"])
        printed = capsys.readouterr().out
        recipe = "own-data" if flags else "quickstart"
        assert f"those of the recipe {recipe}." in printed
        assert ("For those of your own data:" in printed) == (not flags)
        rate = "chosen to fit data and model" if flags else "0.002"
        described = "The initial learning rate for the optimizer."
        assert f"{described} (default: {rate})" in " ".join(printed.split())


def test_help_shows_what_given_evaluations_decide(capsys) -> None:
    with pytest.raises(SystemExit):
        run_command("finetune", ["--dataset_name", "folder", "--eval_steps", "50", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "implies --eval_strategy steps (default: 50.0)" in printed
    assert "implies --save_strategy steps (default: 50.0)" in printed
    assert "overrides --num_train_epochs (default: chosen to fit data and model)" in printed


def test_help_shows_a_given_value_in_place_of_a_choice(capsys) -> None:
    with pytest.raises(SystemExit):
        run_command("finetune", ["--dataset_name", "folder", "--max_steps", "30", "--help"])
    assert "overrides --num_train_epochs (default: 30)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["evaluate", "autolabel", "compare-sam", "inspect"])
def test_commands_that_train_nothing_have_no_flags_of_training(command: str, capsys) -> None:
    with pytest.raises(SystemExit):
        run_command(command, ["--help"])
    printed = capsys.readouterr().out
    assert "--dataset_path" in printed and "--max_eval_samples" in printed
    trained = ["--extra_dataset_path", "--max_train_samples", "--cache_resized", "--normalize"]
    if command != "inspect":  # which previews them
        trained += ["--augmentation", "--crop_size"]
    assert not any(f"\n  {flag} " in printed for flag in trained)


def test_help_all_also_shows_every_flag_of_transformers(capsys) -> None:
    with pytest.raises(SystemExit):
        run_command("finetune", ["--help-all"])
    assert "--torch_empty_cache_steps" in capsys.readouterr().out


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
        (["--per_device_train_batch_size", "0"], ["per_device_train_batch_size", "at least 1"]),
        (["--resume_from_checkpoint", "gone"], ["gone", "no such folder"]),
        (["--extra_dataset_path", "gone"], ["--extra_dataset_path gone", "not a folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_invalid_flag_is_one_sentence(tmp_path: Path, run_here, flags, words) -> None:
    assert_one_sentence(run_here(*flags), *words)
    assert not (tmp_path / "runs").exists()


def test_photos_after_a_flag_of_many_values_are_missed_with_the_way_out(capsys) -> None:
    flags = ["--output_dir", "out", "--min_confidence", "0.5", "--model_name_or_path", "model"]
    with pytest.raises(SystemExit):
        run_command("autolabel", [*flags, "--label_map", "255=pet", "photos/"])
    assert "error: put FILE_OR_FOLDER before the flags" in capsys.readouterr().err


def test_a_folder_without_the_name_of_its_format_is_not_ignored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):  # the quickstart's own data would be trained on
        run_command("finetune", ["--dataset_path", "my-data"])
    assert "--dataset_path my-data needs --dataset_name, such as" in capsys.readouterr().err


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
def test_bad_data_is_reported_in_one_sentence_and_nothing_is_written(
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


def test_an_unknown_model_is_reported_in_one_sentence(tmp_path: Path, run_here) -> None:
    data = make_folder(tmp_path / "data", count=12)
    source = ["--dataset_name", "folder", "--dataset_path", str(data)]
    done = run_here(*source, "--model_name_or_path", "segformr-b0")
    assert_one_sentence(done, "segformr-b0", "did you mean segformer-b0")


def test_a_real_process_ends_with_code_2_and_one_sentence(tmp_path: Path) -> None:
    done = run_script("--dataset_name", "folder", "--dataset_path", "nowhere", cwd=tmp_path)
    assert_one_sentence(done, "nowhere", "no such folder")
    assert not (tmp_path / "runs").exists()


def test_a_reader_that_has_enough_ends_the_command_without_a_traceback() -> None:
    command = [sys.executable, "-m", "hfseg", "models"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment()) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 141
