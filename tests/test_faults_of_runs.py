"""Faults of complete runs, in processes of their own: one sentence, and resuming ends the run.

Each test prints the figure that `docs/reliability.md` shows.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from conftest import make_folder
from launch import environment, finetune_command, run_finetune

from hfseg.training.checkpoints import list_checkpoints, what_is_missing

RESUME = ("--resume_from_checkpoint", "true")


def flags(data: Path, output: Path, **changes: object) -> list[str]:
    options = {
        "dataset_name": "folder", "dataset_path": data, "output_dir": output,
        "model_name_or_path": "segformer-tiny", "crop_size": "32", "num_train_epochs": 6,
        "per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 3,
        "eval_strategy": "no", "dataloader_num_workers": 0, "mixed_precision": "no",
        "logging_steps": 1, "disable_tqdm": True, **changes,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*words, "--from_scratch"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data", count=13, size=(32, 32))


def is_one_sentence(stderr: str) -> bool:
    return stderr.count("error: ") == 1 and "Traceback" not in stderr


# ---- a process of several dies ----


@pytest.mark.slow
def test_the_others_end_when_a_process_is_killed_and_the_run_can_be_resumed(
    tmp_path: Path, data: Path
) -> None:
    command = flags(data, tmp_path / "run", num_train_epochs=200)
    launcher = subprocess.Popen(
        finetune_command(*command, processes=2), env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    while not list_checkpoints(tmp_path / "run"):
        assert launcher.poll() is None, launcher.stdout.read()[-4000:]
        time.sleep(0.1)
    children = psutil.Process(launcher.pid).children(recursive=True)
    ranks = [child for child in children if child.environ().get("RANK") == "1"]
    ranks[0].kill()
    started = time.monotonic()
    printed, _ = launcher.communicate(timeout=300)
    seconds = time.monotonic() - started
    print(f"\nthe others ended after {seconds:.1f} s")
    assert launcher.returncode != 0 and seconds < 60
    assert not [child for child in children if child.is_running()]
    assert "another process of this run has ended" in printed or "SIGKILL" in printed
    last = list_checkpoints(tmp_path / "run")[-1]
    assert what_is_missing(last) is None
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("num_train_epochs: 200", "num_train_epochs: 1"))
    run_finetune("--output_dir", str(tmp_path / "run"), *RESUME, processes=2)
    assert (tmp_path / "run" / "eval_results.json").is_file()


# ---- a full disk ----


def on_small_disk(folder: Path, mebibytes: float, first: list[str], then: list[str]) -> str:
    """Run two commands with `folder` on a small tmpfs, which is larger for the second one.

    Returns:
        What both printed, the names in the folder after the first, and the exit codes.
    """
    probe = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*probe, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("poor surroundings: run `make test-slow` on Linux with user namespaces")
    folder.mkdir()
    resume = " ".join(f"'{word}'" for word in then)
    script = f"""
mount -t tmpfs -o size={round(mebibytes * 1024)}k none "$FOLDER"
"$@" 2>&1; echo "FIRST EXIT $?"; find "$FOLDER" | sed 's/^/LEFT /'
mount -o remount,size=500m "$FOLDER"
{resume} 2>&1; echo "SECOND EXIT $?"; find "$FOLDER" | sed 's/^/END /'
"""
    done = subprocess.run(
        [*probe, "sh", "-c", script, "sh", *first],
        env={**environment(), "FOLDER": str(folder)}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    return done.stdout + done.stderr


def sizes(data: Path, output: Path) -> tuple[float, float]:
    """MiB of one checkpoint, and of the model with its report, of a run that was not disturbed."""
    run_finetune(*flags(data, output, num_train_epochs=1))

    def size(paths: list[Path]) -> float:
        return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20

    checkpoint = list_checkpoints(output)[-1]
    kept = [path for path in output.rglob("*") if "checkpoint-" not in str(path)]
    return size(list(checkpoint.rglob("*"))), size(kept)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["checkpoint", "report"])
def test_a_disk_that_is_full_loses_nothing_that_was_saved(
    tmp_path: Path, data: Path, when: str
) -> None:
    checkpoint, rest = sizes(data, tmp_path / "undisturbed")
    output = tmp_path / "disk" / "run"
    if when == "checkpoint":  # one fits, and half of the next
        command, limit = flags(data, output), 1.5 * checkpoint
    else:  # one checkpoint and the weights fit, but not all figures
        command = flags(data, output, save_total_limit=1, max_steps=3)
        limit = checkpoint + rest - 0.2
    again = finetune_command("--output_dir", str(output), *RESUME)
    printed = on_small_disk(tmp_path / "disk", limit, finetune_command(*command), again)
    first, _, rest_of_it = printed.partition("FIRST EXIT ")
    assert rest_of_it.startswith("2\n"), printed[-4000:]
    assert is_one_sentence(first), first[-2000:]
    # torch.save says only that it could not write
    full = r"writing failed because the disk is full( or faulty)?: free some space, then resume"
    assert re.search(full, first), first[-2000:]
    left, _, second = rest_of_it.partition("SECOND EXIT ")
    assert "checkpoint-3/optimizer.pt" in left and "_unfinished/" not in left
    assert second.startswith("0\n"), printed[-4000:]
    assert "END " in second and "/eval_results.json" in second and "/README.md" in second
    print(f"\na disk of {limit:.1f} MiB: stopped during the {when}; resumed to the end")


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from hfseg.cli import run
run("finetune", sys.argv[1:])
"""


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_one_sentence(tmp_path: Path, data: Path) -> None:
    import sys

    command = [sys.executable, "-c", LIMITED, "100000", *flags(data, tmp_path / "run")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 2, done.stderr[-2000:]
    assert is_one_sentence(done.stderr)
    assert list_checkpoints(tmp_path / "run") == []


# ---- a clock that jumps ----


@pytest.mark.slow
def test_a_clock_that_jumps_back_by_years_changes_no_step(tmp_path: Path, data: Path) -> None:
    import shutil

    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("poor surroundings: run `make test-slow` on Linux with faketime")
    command = flags(data, tmp_path / "run", save_total_limit=2)
    run_finetune(*command, "--max_steps", "6")
    for name in ("model.safetensors", "trainer_state.json", "README.md"):
        (tmp_path / "run" / name).unlink()
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("max_steps: 6", "max_steps: 12"))
    again = finetune_command("--output_dir", str(tmp_path / "run"), *RESUME)
    done = subprocess.run(
        [faketime, "2001-02-03 04:05:06", *again], env=environment(), capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    names = [path.name for path in list_checkpoints(tmp_path / "run")]
    assert names == ["checkpoint-9", "checkpoint-12"]
    results = json.loads((tmp_path / "run" / "train_results.json").read_text())
    assert 0 < results["train_runtime"] < 3600


# ---- a data worker that is killed ----


@pytest.mark.slow
def test_a_killed_data_worker_is_one_sentence(tmp_path: Path, data: Path) -> None:
    command = flags(data, tmp_path / "run", num_train_epochs=200, dataloader_num_workers=1)
    run = subprocess.Popen(
        finetune_command(*command), env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not list_checkpoints(tmp_path / "run"):
        assert run.poll() is None, run.stderr.read()[-4000:]
        time.sleep(0.1)
    workers = [
        child
        for child in psutil.Process(run.pid).children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    _, stderr = run.communicate(timeout=300)
    assert run.returncode == 2, stderr[-2000:]
    assert is_one_sentence(stderr) and "a data worker (process " in stderr
    assert what_is_missing(list_checkpoints(tmp_path / "run")[-1]) is None
