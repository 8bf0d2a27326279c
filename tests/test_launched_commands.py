"""Long commands in several processes: the files of one process, also after a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import make_folder
from forked import run_forked
from launch import environment
from test_evaluate_model import save_model
from tiny_sams import tiny_sam2

import hfseg.data.export
import hfseg.shared_work
import hfseg.workflows.predict_files
from hfseg.shared_work import SharedWork

TIMES = {"seconds", "hardware", "seconds_per_image", "peak_memory_gib"}
"""What is measured, and so never the same twice."""
COMMANDS: dict[str, tuple[Any, str]] = {
    "predict": (hfseg.workflows.predict_files, "_write_mask"),
    "autolabel": (hfseg.workflows.predict_files, "_write_mask"),
    "evaluate": (SharedWork, "done"),
    "compare-sam": (SharedWork, "done"),
    "inspect": (SharedWork, "done"),
    "push dataset": (hfseg.data.export, "_write_shard"),
}
"""Command -> the function after whose second call it is killed."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launched")
    make_folder(folder / "data", count=10)
    save_model(folder / "model")
    for each in tiny_sam2():
        each.save_pretrained(folder / "sam")
    return folder


def command_line(command: str, inputs: Path, output: Path) -> list[str]:
    data = ["--dataset_name", "folder", "--dataset_path", str(inputs / "data")]
    model = ["--model_name_or_path", str(inputs / "model")]
    images = str(inputs / "data" / "images")
    flags = {
        "predict": [*model, images],
        "autolabel": [*model, *data, "--precision", "0.001", images],
        "evaluate": [*model, *data, "--split", "train"],
        "compare-sam": [*model, "--sam", str(inputs / "sam"), *data, "--split", "train",
                        "--points_per_side", "2", "--num_figures", "2"],
        "inspect": data,
        "push dataset": data,
        "export": [*model, "--images", images, "--image_size", "64"],
    }  # fmt: skip
    return [*command.split(), *flags[command], "--output_dir", str(output)]


def content(folder: Path) -> dict[str, object]:
    """File -> bytes; of results the values that were not timed."""
    return {
        file.relative_to(folder).as_posix(): _untimed(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in ("results.md", "comparison.csv", "report.html")
    }


def _untimed(file: Path) -> object:
    if file.suffix != ".json":
        return file.read_bytes()
    return list(_values(json.loads(file.read_text(encoding="utf-8"))))


def _values(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _values(each, f"{key}/{name}")
    elif not TIMES & set(key.split("/")):
        yield key, value


def killed_after(calls: int, owner: Any, name: str) -> Callable[[], None]:
    """Makes the process die when a function has been called that often."""

    def prepare() -> None:
        function, left = getattr(owner, name), calls

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            result = function(*args, **kwargs)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, counted)

    return prepare


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are saved after every image, and parquet files are small."""
    monkeypatch.setattr(hfseg.shared_work, "SECONDS", 0.0)
    monkeypatch.setattr(hfseg.data.export, "SHARD_BYTES", 20_000)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=() if name in ("predict", "inspect") else pytest.mark.slow)
        for name in COMMANDS
    ],
)
def test_processes_write_the_files_of_one_also_after_a_kill(
    inputs: Path, tmp_path: Path, small_parts: None, command: str
) -> None:
    def run(name: str, processes: int, prepare: Any = None) -> tuple[list[int], str]:
        words = command_line(command, inputs, tmp_path / name / "out")
        return run_forked(words, processes, tmp_path / "printed" / f"{name}-{processes}", prepare)

    codes, printed = run("one", 1)
    assert codes == [0], printed
    expected = content(tmp_path / "one")
    codes, printed = run("two", 2)
    assert codes == [0, 0], printed
    if command == "predict":
        assert printed.count("10 segmented") == 1  # one process reports
    assert content(tmp_path / "two") == expected

    codes, printed = run("killed", 2, killed_after(2, *COMMANDS[command]))
    assert -signal.SIGKILL in codes, printed
    left = content(tmp_path / "killed")
    assert left and left != expected
    codes, printed = run("killed", 3)
    assert codes == [0, 0, 0], printed
    assert content(tmp_path / "killed") == expected
    if command != "push dataset":
        assert "already" in printed


@pytest.mark.slow
def test_the_parity_of_an_export_is_that_of_all_images(inputs: Path, tmp_path: Path) -> None:
    printed = []
    for processes in (1, 2):
        output = tmp_path / str(processes) / "onnx"
        words = command_line("export", inputs, output)
        codes, text = run_forked(words, processes, tmp_path / f"printed-{processes}")
        assert codes == [0] * processes, text
        assert (output / "model.onnx").is_file() and not list(output.glob("*.part"))
        printed.append([line for line in text.splitlines() if "of pixels agree" in line])
    assert printed[0] == printed[1] and len(printed[0]) == 3


@pytest.mark.slow
def test_a_command_launches_its_processes_itself(inputs: Path, tmp_path: Path) -> None:
    words = command_line("predict", inputs, tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-m", "hfseg", *words, "--num_processes", "2"],
        env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"10 segmented, in {tmp_path / 'out'}\n"
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 10
