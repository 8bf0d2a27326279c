"""A run ends with the same weights and the same scores with and without each speed-up.

bf16 and another memory format round differently: tests of test_precision.py compare those.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_folder
from safetensors.torch import load_file
from small_run import OPTIONS

from hfseg.config.resolve import resolve
from hfseg.data.samples import Collator
from hfseg.workflows.finetune import finetune

Patch = pytest.MonkeyPatch
Result = tuple[dict[str, torch.Tensor], dict[str, float]]
"""The weights and the final scores of a run."""


def run(data: Path, output: Path, **options: object) -> Result:
    given = {
        **OPTIONS, "model_name_or_path": "deeplabv3plus-mobilenet-v2", "crop_size": "64",
        "image_size": "64", "max_steps": 4, "learning_rate": 1e-4, "use_cpu": True,
        "dataset_path": str(data), "output_dir": str(output),
    }  # fmt: skip
    finetune(resolve({**given, **options}))
    scores = json.loads((output / "eval_results.json").read_text())
    return load_file(output / "model.safetensors"), scores


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("speed") / "data", count=13, size=(64, 80))


@pytest.fixture(scope="module")
def plain(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        normalize_in_the_workers(patch)
        return run(data, tmp_path_factory.mktemp("plain") / "run")


def normalize_in_the_workers(patch: Patch) -> None:
    """As transformers' example does, instead of on the device."""
    before = Collator.__init__

    def init(self: Collator, *args: Any, **kwargs: Any) -> None:
        before(self, *args, **kwargs)
        self.normalize = True

    patch.setattr(Collator, "__init__", init)


def loss_in_parts(patch: Patch) -> None:
    """The loss resizes the logits of one image at a time."""
    patch.setattr("hfseg.training.losses._VALUES_AT_ONCE", 1)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (None, {}),
        (loss_in_parts, {}),
        (None, {"dataloader_num_workers": 2, "dataloader_persistent_workers": True}),
        (None, {"cache_resized": True}),
    ],
    ids=["bytes to the device", "loss in parts", "workers", "resized once"],
)
def test_a_speed_up_changes_no_result(
    data: Path,
    plain: Result,
    tmp_path: Path,
    monkeypatch: Patch,
    change: Callable[[Patch], None] | None,
    options: dict[str, Any],
) -> None:
    if change is not None:
        change(monkeypatch)
    weights, scores = run(data, tmp_path / "run", **options)
    for name, value in plain[0].items():
        if value.is_floating_point():  # the sums of the loss may run in another order
            off = (weights[name] - value).abs().mean()
            assert off <= 1e-5 + 1e-4 * value.abs().mean(), name
    for key in ("eval_mean_iou", "eval_overall_accuracy", "eval_loss"):
        assert scores[key] == pytest.approx(plain[1][key], abs=1e-3), key
