"""`--torch_compile`: the same training for every family, or a sentence about what is missing."""

from pathlib import Path

import pytest
import torch
from conftest import make_folder
from families import FAMILIES
from torch._inductor import config as inductor

from hfseg.config.resolve import resolve
from hfseg.errors import UserError
from hfseg.training.checks import check_compiler
from hfseg.workflows.assemble import load_data, make_loss, make_model, make_trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("compile") / "data", count=13)


def losses(data: Path, output: Path, family: str, backend: str | None) -> list[float]:
    """The losses of three steps, and that of the evaluation after them."""
    torch._dynamo.reset()
    compiling = {"torch_compile": True, "torch_compile_backend": backend} if backend else {}
    arguments = resolve(
        {
            "dataset_name": "folder", "dataset_path": str(data), "output_dir": str(output),
            "model_name_or_path": family, "from_scratch": True, "crop_size": "32",
            "model_config": [f"{key}={value}" for key, value in FAMILIES[family].items()],
            "augmentation": "light", "max_steps": 3, "per_device_train_batch_size": 2,
            "dataloader_num_workers": 0, "eval_strategy": "no", "logging_steps": 1,
            "mixed_precision": "no", "disable_tqdm": True, "lr_scheduler_type": "constant",
            "learning_rate": 1e-4, "torch_compile": bool(backend), **compiling,
        }
    )  # fmt: skip
    rows, labels = load_data(arguments)
    loss = make_loss(arguments, rows["train"], labels)
    torch.manual_seed(0)
    trainer = make_trainer(arguments, *make_model(arguments, labels), rows, labels, loss)
    trainer.train()
    assert (trainer.model_wrapped is not trainer.model) == bool(backend)
    history = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    return [*history, trainer.evaluate()["eval_loss"]]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_traced_as_it_trains_otherwise(
    family: str, data: Path, tmp_path: Path
) -> None:
    """The graphs and their gradients; what a backend makes of them is torch's own business."""
    traced = losses(data, tmp_path / "traced", family, "aot_eager")
    eager = losses(data, tmp_path / "eager", family, None)
    assert traced[:2] == pytest.approx(eager[:2], rel=1e-3)
    # later steps amplify the rounding: PSPNet normalizes batches of two single pixels
    assert traced == pytest.approx(eager, rel=0.02)


@pytest.mark.slow
def test_a_compiled_training_has_the_same_losses(data, tmp_path) -> None:
    with inductor.patch(fallback_random=True):  # the same dropout
        compiled = losses(data, tmp_path / "compiled", "segformer-tiny", "inductor")
    expected = losses(data, tmp_path / "eager", "segformer-tiny", None)
    assert compiled == pytest.approx(expected, rel=1e-3)


def test_without_a_compiler_the_flag_is_refused_before_any_work() -> None:
    training = type("Training", (), {
        "torch_compile": True, "torch_compile_backend": "inductor", "device": torch.device("cpu"),
    })()  # fmt: skip
    # not monkeypatch, which would delete the option afterwards
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(UserError, match="needs a C\\+\\+ compiler"),
    ):
        check_compiler(training)
