"""Two runs never write to one folder, and a killed run leaves no lock behind."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import make_folder
from launch import environment
from small_run import OPTIONS

from hfseg.config.resolve import resolve
from hfseg.errors import UserError
from hfseg.workflows.finetune import finetune
from hfseg.workflows.folder_lock import LOCK_FILE, FolderLock

HOLD = """
import sys
from hfseg.workflows.folder_lock import FolderLock
lock = FolderLock(sys.argv[1])
lock.take()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def another_run() -> Iterator[Callable[[Path], subprocess.Popen]]:
    """Starts a process that has locked a folder when this returns."""
    started = []

    def hold(folder: Path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "locked\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path: Path, another_run) -> None:
    first = another_run(tmp_path / "run")
    kept = (tmp_path / "run" / LOCK_FILE).read_text()
    with pytest.raises(UserError, match=f"another run is writing to .*process {first.pid} on"):
        FolderLock(tmp_path / "run", seconds=0).take()
    assert (tmp_path / "run" / LOCK_FILE).read_text() == kept
    first.kill()
    first.wait()
    with FolderLock(tmp_path / "run") as second:
        second.take()
        second.take()  # twice is once
    assert not (tmp_path / "run" / LOCK_FILE).exists()
    assert not second._lock.is_locked


def test_training_into_the_folder_of_another_run_changes_nothing(
    tmp_path: Path, another_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfseg.workflows.folder_lock.FolderLock.SECONDS", 0.0)
    data = make_folder(tmp_path / "data", count=13, size=(32, 32))
    another_run(tmp_path / "run")
    before = list((tmp_path / "run").iterdir())
    options = {**OPTIONS, "dataset_path": str(data), "output_dir": str(tmp_path / "run")}
    with pytest.raises(UserError, match="another run is writing to"):
        finetune(resolve(options))
    assert list((tmp_path / "run").iterdir()) == before


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't be written to .*; give another --output_dir"):
        FolderLock(tmp_path / "file" / "run").take()


def test_a_lock_that_was_never_taken_leaves_no_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
