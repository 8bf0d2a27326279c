"""`scripts/tune.py`: the stored study outlives a SIGKILL, and finished trials are not repeated."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from conftest import make_folder
from launch import REPOSITORY, environment, run_finetune

from hfseg.config.recipe import recipe_names
from hfseg.config.resolve import resolve
from hfseg.errors import UserError
from hfseg.workflows.folder_lock import FolderLock
from hfseg.workflows.tune import _lock_of, _Search, open_study, read_space, values_in

SCRIPT = REPOSITORY / "scripts" / "tune.py"
RECIPE = """\
dataset_name: folder
model_name_or_path: segformer-tiny
from_scratch: true
augmentation: light
crop_size: 32x48
num_train_epochs: 2
per_device_train_batch_size: 2
mixed_precision: "no"
search:
  learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
  loss: [ce, ce+dice]
  per_device_train_batch_size: [2, 5]
  head_lr_multiplier: {low: 1, high: 4}
"""


def command(folder: Path, trials: int) -> list[str]:
    return [
        sys.executable, str(SCRIPT), "--config", str(folder / "small.yaml"),
        "--dataset_path", str(folder / "data"), "--output_dir", str(folder / "search"),
        "--trials", str(trials),
    ]  # fmt: skip


def run_until(words: str, folder: Path, trials: int) -> None:
    """SIGKILL as soon as a line with `words` is printed."""
    process = subprocess.Popen(
        command(folder, trials), env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    printed = ""
    for line in process.stdout:
        printed += line
        if words in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL, printed[-4000:]


@pytest.mark.slow
def test_a_killed_search_goes_on_and_repeats_no_finished_trial(tmp_path: Path) -> None:
    make_folder(tmp_path / "data", count=13)
    (tmp_path / "small.yaml").write_text(RECIPE)
    run_until("trial 3: ", tmp_path, trials=6)
    storage = f"sqlite:///{tmp_path / 'search' / 'study.db'}"
    before = optuna.load_study(study_name="small", storage=storage).trials
    assert [trial.state.name for trial in before] == ["COMPLETE"] * 3 + ["RUNNING"]
    first = {key: before[0].params[key] for key in ("loss", "head_lr_multiplier")}
    assert first == {"loss": "ce", "head_lr_multiplier": 1}  # those of the recipe

    done = subprocess.run(command(tmp_path, 6), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "continuing after 3 of 6 trials" in done.stdout
    trials = optuna.load_study(study_name="small", storage=storage).trials
    assert [trial.params for trial in trials[:3]] == [trial.params for trial in before[:3]]
    ended = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(ended) == 6
    assert len({trial.params["learning_rate"] for trial in ended}) == 6
    # the one that was cut off is the first to be run again
    assert [trial.state.name for trial in trials].count("FAIL") == 1
    assert trials[4].params == before[3].params

    for name in ("history.png", "importance.png", "best-recipe.yaml"):
        assert (tmp_path / "search" / name).stat().st_size > 0
    again = subprocess.run(command(tmp_path, 6), env=environment(), capture_output=True, text=True)
    assert "trial 7" not in again.stdout and again.returncode == 0

    best = tmp_path / "search" / "best-recipe.yaml"
    run = run_finetune(
        "--config", str(best), "--dataset_path", str(tmp_path / "data"),
        "--output_dir", str(tmp_path / "best"),
    )  # fmt: skip
    value = optuna.load_study(study_name="small", storage=storage).best_value
    assert f"eval_mean_iou {value:.4f}" in run.stdout
    offered = f"hfseg finetune --config {best} --output_dir {tmp_path / 'search-best'}\n"
    assert offered in again.stdout


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path: Path) -> None:
    make_folder(tmp_path / "data", count=13)
    (tmp_path / "small.yaml").write_text(RECIPE)
    searches = [
        subprocess.Popen(
            command(tmp_path, 4), env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for search in searches:
        printed, _ = search.communicate()
        assert search.returncode == 0, printed[-4000:]
        assert "was interrupted" not in printed
    storage = f"sqlite:///{tmp_path / 'search' / 'study.db'}"
    trials = optuna.load_study(study_name="small", storage=storage).trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    assert len(trials) in (4, 5)
    assert len({trial.params["learning_rate"] for trial in trials}) == len(trials)
    assert list((tmp_path / "search").glob(".trial-*")) == []


def test_only_trials_of_a_killed_process_are_repeated(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(FolderLock, "SECONDS", 0.0)
    arguments = resolve({"output_dir": str(tmp_path)})
    study = open_study(arguments)
    running, killed, _ = (study.ask() for _ in range(3))
    lock = _lock_of(arguments, running.number)
    lock.acquire()
    with _lock_of(arguments, killed.number):
        pass  # the file of a killed process stays, its lock does not
    states = [trial.state.name for trial in open_study(arguments).trials]
    assert states == ["RUNNING", "FAIL", "RUNNING", "WAITING"]
    study.tell(running, 0.5)
    lock.release()
    states = [trial.state.name for trial in open_study(arguments).trials]
    assert states == ["COMPLETE", "FAIL", "RUNNING", "WAITING"]


@pytest.mark.parametrize(
    "name", [name for name in recipe_names() if name.startswith("camseq-") and "50" in name]
)
def test_every_choice_of_a_recipe_can_be_parsed(name: str) -> None:
    for key, choices in read_space({"config": name}).items():
        ends = choices if isinstance(choices, list) else [choices["low"], choices["high"]]
        for value in ends:
            recipe = resolve({"config": name, key: value}).recipe
            assert recipe[key] == value


def test_the_recipes_own_values_are_queued_until_they_were_tried(tmp_path: Path) -> None:
    make_folder(tmp_path / "data", count=13)
    options = {
        "dataset_name": "folder", "dataset_path": str(tmp_path / "data"), "from_scratch": True,
        "model_name_or_path": "segformer-tiny", "crop_size": "32", "loss": "focal",
        "mixed_precision": "no", "output_dir": str(tmp_path / "search"),
    }  # fmt: skip
    search = _Search(options, {"loss": ["ce", "focal"]})
    study = open_study(search.arguments)

    def queued() -> int:
        search._begin_with_the_recipe()
        return sum(trial.state.name == "WAITING" for trial in study.get_trials())

    assert queued() == 1 and queued() == 1
    trial = study.ask()
    assert trial.suggest_categorical("loss", ["ce", "focal"]) == "focal"
    study.tell(trial, state=optuna.trial.TrialState.FAIL)  # Ctrl-C
    assert queued() == 1
    study.tell(study.ask(), 0.5)
    assert queued() == 0


def test_a_search_begins_with_the_values_of_the_run_that_the_space_contains(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "dataset_name: folder\nlearning_rate: 3.0e-4\nloss: focal\nlayer_decay: 0.5\n"
        "crop_size: 512\nwarmup_steps: 250\n"
    )
    space = {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "loss": ["ce", "focal"],
        "class_weights": ["median", "balanced"],  # none is not among them
        "weight_decay": {"low": 0.1, "high": 0.2},  # 0 is not
        "head_lr_multiplier": {"low": 1, "high": 4},
        "layer_decay": {"low": 0, "high": 1},  # whole numbers only
        "crop_size": [256, 512],
        "warmup_steps": {"low": 100, "high": 1000, "step": 100},  # not 250
    }
    arguments = resolve({"config": str(file)})
    found = values_in(space, arguments)
    kept = {"learning_rate": 3e-4, "loss": "focal", "head_lr_multiplier": 1, "crop_size": 512}
    assert found == kept


def test_own_data_is_searched_without_naming_a_recipe() -> None:
    assert "learning_rate" in read_space({"dataset_name": "folder"})


def test_a_recipe_without_a_space_is_reported() -> None:
    with pytest.raises(UserError, match="quickstart has no search space; choose --config"):
        read_space({})


def test_what_cannot_be_searched_is_reported(tmp_path: Path) -> None:
    for line, message in (
        ("search: {image_size: [64, 128]}", "image_size can't be searched"),
        ("search: {learning_rate: 0.1}", "must be a list, or have `low` and `high`"),
    ):
        (tmp_path / "wrong.yaml").write_text(line)
        with pytest.raises(UserError, match=message):
            read_space({"config": str(tmp_path / "wrong.yaml")})


def test_a_trial_that_drops_its_last_batch_leaves_the_next_one_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "data", count=13)
    options = {
        "dataset_name": "folder", "dataset_path": str(tmp_path / "data"), "from_scratch": True,
        "model_name_or_path": "deeplabv3plus-resnet18", "crop_size": "64",
        "mixed_precision": "no", "output_dir": str(tmp_path / "search"),
    }  # fmt: skip
    search = _Search(options, {"per_device_train_batch_size": [3, 2]})
    for batch, steps in ((3, 3), (2, 5)):  # of 10 images
        search.trainer.args.per_device_train_batch_size = batch
        search.trainer._train_batch_size = batch
        search.model_of_trial()
        assert len(search.trainer.get_train_dataloader()) == steps
