"""`--auto_find_batch_size`: after an out-of-memory error the training is the one asked for."""

import signal
from pathlib import Path

import pytest
import torch
from conftest import make_folder
from test_trainer import trainer_of

from hfseg.errors import UserError
from hfseg.training.largest_batch import divisors
from hfseg.training.trainer import SegmentationTrainer

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."
FLAGS = ("--max_steps", "3", "--learning_rate", "0.01", "--eval_strategy", "no")
FIND = (*FLAGS, "--per_device_train_batch_size", "6", "--auto_find_batch_size", "true")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("batches") / "data", count=13, size=(32, 32))


def trainer_from_seed(data: Path, output: Path, *flags: str) -> SegmentationTrainer:
    """Every one with the same weights."""
    torch.manual_seed(0)
    return trainer_of(data, output, *flags)


def limit(trainer: SegmentationTrainer, largest: int, after_step: int = 0) -> list[int]:
    """Let larger batches run out of memory; the sizes of all batches that were tried."""
    tried: list[int] = []
    step = trainer.training_step

    def training_step(model, inputs, *args, **kwargs):
        tried.append(len(inputs["pixel_values"]))
        if tried[-1] > largest and trainer.state.global_step >= after_step:
            raise RuntimeError(OUT_OF_MEMORY)
        return step(model, inputs, *args, **kwargs)

    trainer.training_step = training_step
    return tried


def weights(trainer: SegmentationTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize(
    "after_step", [pytest.param(0, marks=pytest.mark.slow), 2], ids=["at once", "in the third step"]
)
def test_a_batch_that_does_not_fit_is_accumulated_from_parts(data, tmp_path, after_step) -> None:
    """Errors of later steps come when weights and optimizer have changed already."""
    found = trainer_from_seed(data, tmp_path / "found", *FIND)
    tried = limit(found, largest=2, after_step=after_step)
    found.train()
    assert [size for size in dict.fromkeys(tried) if size in (6, 3, 2)] == [6, 3, 2]
    parts = ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "3")
    asked = trainer_from_seed(data, tmp_path / "asked", *FLAGS, *parts)
    asked.train()
    assert found.state.global_step == asked.state.global_step == 3
    expected = weights(asked)
    assert all(torch.equal(value, expected[name]) for name, value in weights(found).items())


@pytest.mark.slow
def test_accumulation_that_was_asked_for_is_multiplied(data, tmp_path) -> None:
    found = trainer_from_seed(data, tmp_path, *FIND, "--gradient_accumulation_steps", "2")
    limit(found, largest=3)
    found.train()
    args = found.args
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (3, 4)


@pytest.mark.slow
def test_a_training_that_fits_is_left_as_it_is(data, tmp_path) -> None:
    found = trainer_from_seed(data, tmp_path, *FIND)
    tried = limit(found, largest=6)
    found.train()
    assert tried[0] == 6 and found.args.gradient_accumulation_steps == 1


@pytest.mark.slow
def test_a_model_that_fits_with_no_batch_is_refused(data, tmp_path) -> None:
    found = trainer_from_seed(data, tmp_path, *FIND)
    limit(found, largest=0)
    with pytest.raises(UserError, match="not even batches of 1 fit"):
        found.train()


@pytest.mark.slow
def test_other_errors_are_not_taken_for_a_lack_of_memory(data, tmp_path) -> None:
    found = trainer_from_seed(data, tmp_path, *FIND)
    found.training_step = lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        found.train()


@pytest.mark.slow
def test_ctrl_c_works_as_before_after_a_training_that_was_started_again(data, tmp_path) -> None:
    before = signal.getsignal(signal.SIGINT)
    found = trainer_from_seed(data, tmp_path, *FIND)
    limit(found, largest=3)
    found.train()
    assert signal.getsignal(signal.SIGINT) == before


def test_batches_are_divided_into_equal_parts() -> None:
    assert divisors(12, at_most=8) == [6, 4, 3, 2, 1]
    assert divisors(12, at_most=12, at_least=2) == [12, 6, 4, 3, 2]
