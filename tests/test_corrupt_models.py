"""Models and checkpoints that are damaged, or not what they say, are refused in one sentence."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_segformer import save_tiny
from transformers import CLIPImageProcessor

from hfseg.config.resolve import resolve
from hfseg.errors import UserError
from hfseg.inference import Segmenter
from hfseg.training.checkpoints import restore_weights, what_is_missing
from hfseg.workflows.finetune import finetune


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_tiny(tmp_path / "model")
    return tmp_path / "model"


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def header_of_petabytes(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((1 << 50).to_bytes(8, "little") + b"{}")


def no_numbers(folder: Path) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        next(each for each in weights.values() if each.is_floating_point()).fill_(float("nan"))

    change_weights(folder, spoil)


def other_shapes(folder: Path) -> None:
    def halve(weights: dict[str, torch.Tensor]) -> None:
        name = next(name for name in weights if name.endswith("proj.weight"))
        weights[name] = weights[name][: len(weights[name]) // 2].clone()

    change_weights(folder, halve)


def more_classes_in_the_config(folder: Path) -> None:
    names = {str(index): f"class {index}" for index in range(7)}
    change_json(folder / "config.json", id2label=names, label2id={v: k for k, v in names.items()})


def a_class_without_a_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    labels = {str(int(index) + 1): name for index, name in config["id2label"].items()}
    change_json(folder / "config.json", id2label=labels)


def config_of_another_architecture(folder: Path) -> None:
    change_json(folder / "config.json", model_type="beit", architectures=["BeitForSegmentation"])


def config_that_is_cut_off(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text()[:100])


def config_that_is_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[1, 2]")


def sizes_that_are_words(folder: Path) -> None:
    change_json(folder / "config.json", hidden_sizes="many", depths=[-1, 2, 2, 2])


def processor_with_one_channel(folder: Path) -> None:
    change_json(folder / "preprocessor_config.json", image_mean=[0.5], image_std=[0.5])


def processor_that_divides_by_zero(folder: Path) -> None:
    change_json(folder / "preprocessor_config.json", image_std=[0.0, 0.0, 0.0])


DAMAGES = [
    cut_off, header_of_petabytes, no_numbers, other_shapes, more_classes_in_the_config,
    a_class_without_a_name, config_of_another_architecture, config_that_is_cut_off,
    config_that_is_a_list, sizes_that_are_words, processor_with_one_channel,
    processor_that_divides_by_zero,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_model_is_refused_when_it_is_loaded(
    model: Path, damage: Callable[[Path], None]
) -> None:
    damage(model)
    with pytest.raises(UserError) as caught:
        Segmenter.from_pretrained(model)
    assert "\n" not in str(caught.value) and str(model) in str(caught.value)


def test_a_processor_of_another_model_is_named(model: Path, caplog) -> None:
    CLIPImageProcessor().save_pretrained(model)
    Segmenter.from_pretrained(model)
    assert "is a CLIPImageProcessor, which usually belongs to another model" in caplog.text


# ---- checkpoints to resume from ----


@pytest.fixture
def stopped(finished_run: Path, tmp_path: Path) -> Path:
    """A run that was killed after step 5 of 7."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    shutil.rmtree(run / "checkpoint-7")
    for name in ("model.safetensors", "trainer_state.json"):
        (run / name).unlink()
    return run


def resume(run: Path) -> None:
    finetune(resolve({"output_dir": str(run), "resume_from_checkpoint": "true"}))


def test_a_checkpoint_of_another_architecture_is_refused(stopped: Path, model: Path) -> None:
    for file in model.iterdir():
        shutil.copy(file, stopped / "checkpoint-5")
    with pytest.raises(UserError, match="checkpoint-5 does not contain the weights of this Segf"):
        resume(stopped)
    assert not (stopped / "model.safetensors").exists()


def test_a_checkpoint_with_weights_that_are_no_numbers_is_refused(stopped: Path) -> None:
    no_numbers(stopped / "checkpoint-5")
    with pytest.raises(UserError, match=r"checkpoint-5 are damaged: .* not finite"):
        resume(stopped)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_state_that_is_cut_off_makes_a_checkpoint_incomplete(stopped: Path, name: str) -> None:
    file = stopped / "checkpoint-5" / name
    file.write_bytes(file.read_bytes()[:-100])
    assert what_is_missing(stopped / "checkpoint-5") == f"{name} is truncated"


# ---- pickles ----


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.evidence}'",)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_no_state_of_a_checkpoint_can_run_code(stopped: Path, tmp_path: Path, name: str) -> None:
    torch.save({"state": Bomb(tmp_path / "ran")}, stopped / "checkpoint-5" / name)
    with pytest.raises(UserError, match=r"could run code, so it is not read"):
        resume(stopped)
    assert not (tmp_path / "ran").exists()


def test_no_weights_of_a_model_can_run_code(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    torch.save({"weights": Bomb(tmp_path / "ran")}, model / "pytorch_model.bin")
    with pytest.raises(UserError) as caught:
        Segmenter.from_pretrained(model)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_weights_are_restored_tensor_by_tensor(model: Path) -> None:
    segmenter = Segmenter.from_pretrained(model)
    change_weights(model, lambda weights: weights.pop(next(iter(weights))))
    with pytest.raises(UserError, match="is missing; it belongs to another model"):
        restore_weights(segmenter.model, model)
