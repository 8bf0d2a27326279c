"""`--time_budget`: what fits into a given time, and that the run keeps to it."""

import json
from pathlib import Path

import pytest
from conftest import make_folder
from hypothesis import given
from hypothesis import strategies as st
from small_run import OPTIONS
from transformers import TrainerCallback

from hfseg.config.resolve import resolve
from hfseg.errors import UserError
from hfseg.training.time_budget import MEASURED, WARM_UP, Costs, parse_duration, plan
from hfseg.workflows import time_budget as workflow
from hfseg.workflows.assemble import load_data, make_loss, make_model, make_trainer

# ---- what fits ----


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("2h0m5s", 7205)]
)
def test_a_duration_is_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["30", "m", "", "0m", "1.5h", "30m2h"])
def test_other_durations_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="such as 30m"):
        parse_duration(text)


def seconds_of(max_steps: int, eval_steps: int, costs: Costs, done: int = 0) -> float:
    """What a run takes that evaluates every `eval_steps` steps and after the last one."""
    inside = (max_steps - 1) // eval_steps - done // eval_steps
    return (max_steps - done) * costs.step + (inside + 1) * costs.evaluation + costs.end


costs = st.builds(
    Costs, step=st.floats(0.01, 2), evaluation=st.floats(0.01, 60), end=st.floats(1, 60)
)


@given(costs, st.floats(150, 40_000))
def test_a_plan_uses_the_time_and_no_more(costs: Costs, seconds: float) -> None:
    found = plan(seconds, costs)
    used = seconds_of(found.max_steps, found.eval_steps, costs)
    assert seconds - costs.step - costs.evaluation - 1e-6 <= used <= seconds + 1e-6
    assert found.max_steps <= 10 * found.eval_steps


@given(costs, st.floats(150, 40_000), st.integers(1, 500), st.integers(1, 50))
def test_a_resumed_run_plans_with_what_is_left(
    costs: Costs, seconds: float, eval_steps: int, legs: int
) -> None:
    done = legs * eval_steps
    found = plan(seconds, costs, done, eval_steps)
    assert found.max_steps > done and found.eval_steps == eval_steps
    assert seconds_of(found.max_steps, eval_steps, costs, done) <= seconds + costs.evaluation


def test_evaluations_take_a_fifth_of_the_time_at_most() -> None:
    found = plan(1000, Costs(step=1, evaluation=90, end=0))
    assert (found.max_steps, found.eval_steps) == (820, 410)


def test_a_run_whose_time_is_used_up_trains_no_further() -> None:
    assert plan(3, Costs(1, 5, 10), done=70, eval_steps=20).max_steps == 70


def test_a_time_too_short_for_one_step_is_refused_with_the_time_it_takes() -> None:
    with pytest.raises(UserError, match=r"leaves 7\.0 s for training, .* take 16\.0 s"):
        plan(7, Costs(step=1, evaluation=5, end=10))


# ---- a run ----


class Clock:
    """Stands still but for `advance`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Slow(TrainerCallback):
    """A machine on which a step takes 2 s, an evaluation 4 s and a checkpoint 1 s."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_begin(self, *args, **kwargs) -> None:
        self.clock.advance(2)

    def on_evaluate(self, *args, **kwargs) -> None:
        self.clock.advance(4)

    def on_save(self, *args, **kwargs) -> None:
        self.clock.advance(1)


def fitted(tmp_path: Path, clock: Clock, monkeypatch, checkpoint: Path | None = None, **options):
    """The arguments of a run with a budget on a slow machine, and the trainer they make."""
    if not (tmp_path / "data").exists():
        make_folder(tmp_path / "data", count=13, size=(32, 32))
    place = {"dataset_path": str(tmp_path / "data"), "output_dir": str(tmp_path / "run")}
    arguments = resolve({**OPTIONS, **place, "max_steps": None, "time_budget": "2m", **options})
    data, labels = load_data(arguments)
    loss = make_loss(arguments, data["train"], labels)
    parts = (*make_model(arguments, labels), data, labels, loss)

    def make_slow_trainer(*args):
        trainer = make_trainer(*args)
        trainer.add_callback(Slow(clock))
        save = trainer._save_checkpoint
        trainer._save_checkpoint = lambda *args, **kwargs: (save(*args, **kwargs), clock.advance(1))
        return trainer

    monkeypatch.setattr(workflow, "make_trainer", make_slow_trainer)
    before = {name: value.clone() for name, value in parts[0].state_dict().items()}
    arguments = workflow.fit_time_budget(arguments, parts, checkpoint, clock(), clock)
    after = parts[0].state_dict()
    assert all((after[name] == value).all() for name, value in before.items())
    return arguments, make_trainer(arguments, *parts)


def test_a_run_gets_the_steps_schedule_and_evaluations_that_fit(tmp_path, monkeypatch) -> None:
    clock = Clock()
    arguments, trainer = fitted(tmp_path, clock, monkeypatch, warmup_steps=500)
    training = arguments.training
    used = clock.now
    assert used == 2 * (WARM_UP + MEASURED) + 4 + 1  # steps, one evaluation, one checkpoint
    # of what is left, 11 s go to the end: two validation images, a test image and the report
    assert (training.max_steps, training.eval_steps, training.save_steps) == (36, 13, 13)
    assert training.warmup_steps == 3  # no more than a tenth
    trainer.add_callback(Slow(clock))
    trainer.train()
    assert trainer.state.global_step == training.max_steps
    assert trainer.lr_scheduler.get_last_lr()[0] < 1e-6  # the schedule ends with the budget
    assert clock.now + 11 == pytest.approx(120, rel=0.03)


def test_a_resumed_run_goes_on_with_the_time_that_is_left(tmp_path, monkeypatch) -> None:
    checkpoint = tmp_path / "checkpoint-10"
    checkpoint.mkdir()
    state = {
        "global_step": 10, "eval_steps": 5,
        "stateful_callbacks": {"TrainingClock": {"args": {"seconds": 40.0}, "attributes": {}}},
    }  # fmt: skip
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    clock = Clock()
    arguments, _ = fitted(tmp_path, clock, monkeypatch, checkpoint=checkpoint)
    # 48 s for three intervals of five steps and an evaluation
    assert (arguments.training.max_steps, arguments.training.eval_steps) == (25, 5)


def test_a_search_refuses_a_time_budget(tmp_path) -> None:
    from hfseg.workflows.tune import tune

    place = {"dataset_path": str(tmp_path), "output_dir": str(tmp_path / "run")}
    with pytest.raises(UserError, match="--time_budget"):
        tune({"config": "own-data", "dataset_name": "folder", **place, "time_budget": "1m"}, 1)


@pytest.mark.parametrize("flag", ["max_steps", "num_train_epochs"])
def test_a_time_and_a_number_of_steps_are_refused_together(flag: str) -> None:
    with pytest.raises(UserError, match=f"--time_budget and --{flag} both set the length"):
        resolve({"dataset_name": "folder", "time_budget": "1m", flag: 3})


def test_given_steps_replace_the_time_of_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "timed.yaml"
    file.write_text("dataset_name: folder\ntime_budget: 30m\n")
    training = resolve({"config": str(file), "max_steps": 200}).training
    assert training.time_budget is None and training.max_steps == 200
    assert resolve({"config": str(file)}).training.time_budget == "30m"
