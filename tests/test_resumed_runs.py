"""Going on with a run: its own recipe, its time, and nothing at all once it is finished."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from small_run import OPTIONS

from hfseg.config.resolve import parse, resolve
from hfseg.config.run_recipe import recipe_text
from hfseg.errors import UserError
from hfseg.training.clock import TrainingClock
from hfseg.training.trainer import SegmentationTrainer
from hfseg.workflows.finetune import finetune


@pytest.fixture
def data(finished_run: Path) -> Path:
    return finished_run.parent / "data"


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def resume(run: Path, **options: object):
    return resolve({"output_dir": str(run), "resume_from_checkpoint": "true", **options})


# ---- the recipe of a run ----


def test_the_recipe_is_there_from_the_start(data, tmp_path, monkeypatch) -> None:
    class Stopped(Exception):
        pass

    def stop(*args: object, **kwargs: object) -> None:
        raise Stopped

    monkeypatch.setattr(SegmentationTrainer, "train", stop)
    where = {"dataset_path": str(data), "output_dir": str(tmp_path / "run")}
    arguments = resolve({**OPTIONS, **where, "loss": "ce"})
    with pytest.raises(Stopped):
        finetune(arguments)
    assert (tmp_path / "run" / "recipe.yaml").read_text() == recipe_text(arguments)


def test_a_run_is_resumed_with_its_own_options(run: Path, data: Path) -> None:
    arguments = resume(run)
    assert arguments.data.dataset_path == str(data)
    assert arguments.model.model_name_or_path == "segformer-tiny"
    assert arguments.training.learning_rate == 0.003
    assert arguments.training.lr_scheduler_kwargs == {"power": 0.9}
    assert arguments.training.output_dir == str(run)


def test_a_checkpoint_names_its_run(run: Path) -> None:
    arguments = resolve({"resume_from_checkpoint": str(run / "checkpoint-5")})
    assert arguments.training.output_dir == str(run)
    assert arguments.training.max_steps == 7


@pytest.mark.parametrize("words", [[], ["--learning_rate", "0.003", "--lr_power", "0.9"]])
def test_the_command_of_the_run_resumes_it(run: Path, data: Path, words, monkeypatch) -> None:
    monkeypatch.chdir(data.parent)
    command = ["--dataset_name", "folder", "--dataset_path", "data", "--crop_size", "32"]
    command += ["--model_name_or_path", "segformer-tiny", "--lr_scheduler_type", "polynomial"]
    command += ["--output_dir", str(run), "--resume_from_checkpoint", "true", *words]
    assert parse(command).training.lr_scheduler_kwargs == {"power": 0.9}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": 0.01}, "--learning_rate 0.01 (the run has 0.003) contradicts the run"),
        ({"max_steps": 9, "loss": "dice"}, "--loss dice (the run has ce), --max_steps 9"),
        ({"model_name_or_path": "segformer-b0"}, "--model_name_or_path segformer-b0"),
        ({"adam_beta1": 0.5}, "--adam_beta1 0.5 (the run has 0.9)"),
        ({"config": "quickstart"}, "--dataset_name toyscapes (the run has folder)"),
    ],
)
def test_options_that_contradict_the_run_are_named(run: Path, options, words: str) -> None:
    with pytest.raises(UserError) as caught:
        resume(run, **options)
    assert words in str(caught.value) and str(run) in str(caught.value)


def test_options_that_change_no_weights_are_free(run: Path) -> None:
    training = resume(run, dataloader_num_workers=2, per_device_eval_batch_size=1).training
    assert (training.dataloader_num_workers, training.per_device_eval_batch_size) == (2, 1)


def test_data_that_was_moved_is_named_anew(run: Path, data: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    with pytest.raises(UserError, match="--dataset_path"):
        resume(run, dataset_path=str(moved))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["dataset_path"] = str(tmp_path / "gone")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert resume(run, dataset_path=str(moved)).data.dataset_path == str(moved)


def test_the_recipe_of_a_run_repeats_it_from_any_folder(run: Path, data: Path, tmp_path) -> None:
    repeated = resolve({"config": str(run / "recipe.yaml"), "output_dir": str(tmp_path / "new")})
    assert repeated.data.dataset_path == str(data)
    assert repeated.training.save_steps == repeated.training.eval_steps == 5
    assert (
        recipe_text(repeated).splitlines()[1:] == (run / "recipe.yaml").read_text().splitlines()[1:]
    )


# ---- a finished run ----


def test_a_finished_run_has_nothing_left_to_do(run: Path, capsys, monkeypatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    monkeypatch.setattr("hfseg.workflows.finetune.load_data", None)  # not even the data is read
    again = finetune(resume(run))
    scores = json.loads((run / "eval_results.json").read_text())
    assert again.scores["mean_iou"] == scores["eval_mean_iou"]
    assert again.labels.names == ("ground", "wall", "roof")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == f"{run} is finished: nothing left to train or to evaluate"
    assert printed[-1] == f"eval_mean_iou {scores['eval_mean_iou']:.4f}  {run}"


def test_a_finished_run_without_its_results_is_measured_again(run: Path, monkeypatch) -> None:
    kept = {name: (run / name).read_text() for name in ("eval_results.json", "train_results.json")}
    card = (run / "README.md").read_text()
    for name in ("eval_results.json", "README.md", "report/curves.png"):
        (run / name).unlink()
    monkeypatch.setattr(SegmentationTrainer, "train", None)
    finetune(resume(run))
    measured = json.loads((run / "eval_results.json").read_text())
    for key, value in json.loads(kept["eval_results.json"]).items():
        if not any(word in key for word in ("runtime", "per_second", "preparation")):
            assert measured[key] == value, key
    assert (run / "train_results.json").read_text() == kept["train_results.json"]
    assert (run / "report" / "curves.png").is_file()
    facts = [line for line in card.splitlines() if "for 7 steps" in line]
    assert facts and facts[0] in (run / "README.md").read_text()


def test_steps_and_time_of_all_legs_add_up(data: Path, run: Path, monkeypatch) -> None:
    whole = json.loads((run / "train_results.json").read_text())
    shutil.rmtree(run / "checkpoint-7")
    for name in ("trainer_state.json", "model.safetensors"):
        (run / name).unlink()
    state = json.loads((run / "checkpoint-5" / "trainer_state.json").read_text())
    state["stateful_callbacks"]["TrainingClock"]["args"]["seconds"] = 1000.0
    (run / "checkpoint-5" / "trainer_state.json").write_text(json.dumps(state))
    finetune(resume(run))
    results = json.loads((run / "train_results.json").read_text())
    assert 1000 < results["train_runtime"] < 2000
    assert results["train_steps_per_second"] == pytest.approx(
        7 / results["train_runtime"], abs=1e-3
    )
    assert results["train_loss"] == pytest.approx(whole["train_loss"], abs=1e-6)
    assert "for 7 steps" in (run / "README.md").read_text()


def test_a_checkpoint_without_a_clock_can_be_resumed(run: Path) -> None:
    shutil.rmtree(run / "checkpoint-7")
    (run / "trainer_state.json").unlink()
    file = run / "checkpoint-5" / "trainer_state.json"
    state = json.loads(file.read_text())
    assert state["stateful_callbacks"].pop(TrainingClock.__name__)
    file.write_text(json.dumps(state))
    finetune(resume(run))
    assert (run / "checkpoint-7").is_dir()
