"""Poor surroundings: each works, or one sentence says what is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launch import SCRIPT, environment, run_script

TINY = (
    "--max_steps", 2, "--max_train_samples", 8, "--max_eval_samples", 2, "--mixed_precision", "no",
)  # fmt: skip


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the cache folder should be")
    output = tmp_path / "run"
    done = run_script(
        "finetune.py", *TINY, "--output_dir", output, HF_HOME=str(tmp_path / "home" / "cache")
    )
    assert "can't be written (" in done.stderr and "Traceback" not in done.stderr
    assert (output / "model.safetensors").is_file()


@pytest.mark.slow
def test_no_home_an_ascii_locale_and_a_folder_with_spaces_and_umlauts(tmp_path: Path) -> None:
    folder = tmp_path / "Ärger mit Überlänge"
    folder.mkdir()
    bare = {"LC_ALL": "C", "HOME": "", "HF_HOME": str(folder / "cache")}
    run, data = folder / "läufe" / "a b", ("--dataset_name", "toyscapes")
    run_script("finetune.py", *TINY, "--output_dir", run, "--dataloader_num_workers", 2, **bare)
    model = ("--model_name_or_path", run)
    masks = folder / "masks"
    run_script("predict.py", *model, "--output_dir", masks, run / "report", **bare)
    figures = list((run / "report").glob("*.png"))
    assert len(list((masks / "masks").iterdir())) == len(figures) > 0
    scores = folder / "scores"
    run_script(
        "evaluate_model.py", *model, *data, "--max_eval_samples", 2, "--output_dir", scores, **bare
    )
    assert (scores / "results.json").is_file()


def run_in(
    surroundings: tuple[str, ...], *flags: object, **variables: str
) -> subprocess.CompletedProcess:
    """Fine-tune for two steps behind a command that changes what the process sees."""
    if subprocess.run([*surroundings, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("poor surroundings: run `make test-slow` on Linux with user namespaces")
    return subprocess.run(
        [*surroundings, sys.executable, str(SCRIPT), *map(str, (*TINY, *flags))],
        env=environment(**variables), capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def read_only(folder: Path) -> tuple[str, ...]:
    return mounted(f"mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}'")


def mounted(command: str) -> tuple[str, ...]:
    """A prefix that runs the shell command as root of its own mount namespace first."""
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", f'{command} && exec "$@"', "sh")


NO_NETWORK = ("unshare", "--map-root-user", "--net")


@pytest.mark.slow
def test_training_needs_no_network_not_even_loopback(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = run_in(NO_NETWORK, "--dataloader_num_workers", 2, "--output_dir", run)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (run / "eval_results.json").is_file()


@pytest.mark.slow
def test_several_processes_without_loopback_are_one_sentence(tmp_path: Path) -> None:
    done = run_in(NO_NETWORK, "--num_processes", 2, "--output_dir", tmp_path / "run")
    assert done.returncode == 2
    assert "several processes need the loopback network (127.0.0.1)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_data_workers_need_little_shared_memory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = run_in(
        mounted("mount -t tmpfs -o size=64m none /dev/shm"),
        "--dataloader_num_workers", 2, "--output_dir", run,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (run / "eval_results.json").is_file()


@pytest.mark.slow
def test_a_read_only_home_with_a_writable_cache_trains(tmp_path: Path) -> None:
    home, run = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    done = run_in(
        read_only(home), "--output_dir", run,
        HOME=str(home), HF_HOME=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (run / "eval_results.json").is_file()


@pytest.mark.slow
def test_a_read_only_home_that_holds_the_cache_trains_without_one(tmp_path: Path) -> None:
    home, run = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    done = run_in(
        read_only(home), "--output_dir", run,
        HOME=str(home), HF_HOME=str(home / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "set HF_HOME to a folder you can write to" in done.stderr
    assert (run / "eval_results.json").is_file()


@pytest.mark.slow
def test_a_clock_in_the_past_changes_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("poor surroundings: run `make test-slow` on Linux with faketime")
    done = run_in((faketime, "2001-02-03 04:05:06"), "--output_dir", run)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (run / "eval_results.json").is_file()
