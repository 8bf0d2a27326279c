"""A model's own Python code runs only when the user says so, and the log says whose it was."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from conftest import Hub
from safetensors.torch import save_file
from tiny_segformer import NAMES, save_tiny

from hfseg.errors import UserError
from hfseg.inference import Segmenter
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.models.loading import report_remote_code

CODE = """
from pathlib import Path
from transformers import SegformerConfig, SegformerForSemanticSegmentation
Path({evidence!r}).touch()
class OwnConfig(SegformerConfig):
    model_type = "own-segformer"
class OwnModel(SegformerForSemanticSegmentation):
    config_class = OwnConfig
"""


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    modules = tmp_path / "modules"
    modules.mkdir()
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(modules))
    monkeypatch.syspath_prepend(str(modules))
    return tmp_path / "ran"


@pytest.fixture
def model(tmp_path: Path, evidence: Path) -> Path:
    """A model that brings its code, which leaves a file when it runs."""
    folder = save_tiny(tmp_path / "model")
    # transformers saves SegFormer's under other names, which it maps back for its own class only
    weights = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).state_dict()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "own.py").write_text(CODE.format(evidence=str(evidence)))
    config = json.loads((folder / "config.json").read_text())
    classes = {
        "AutoConfig": "own.OwnConfig",
        "AutoModelForSemanticSegmentation": "own.OwnModel",
    }
    config |= {"model_type": "own-segformer", "architectures": ["OwnModel"], "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def predict(folder: Path, **options: Any) -> object:
    return Segmenter.from_pretrained(folder, **options)


def train(folder: Path, **options: Any) -> object:
    return load_model(str(folder), LabelSet(NAMES), **options)


@pytest.mark.parametrize("load", [predict, train])
def test_code_of_a_model_does_not_run_unasked(
    model: Path, evidence: Path, load: Callable[..., object]
) -> None:
    with pytest.raises(
        UserError, match=r"needs its own code to be run: .* \(--trust_remote_code\)"
    ):
        load(model)
    assert not evidence.exists()


def test_code_that_may_run_is_named(
    model: Path, evidence: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predict(model, trust_remote_code=True)
    assert evidence.exists()
    assert f"{model} runs its own code, OwnModel, from this folder" in caplog.text


LOAD = """
import logging
logging.basicConfig()
from hfseg.inference import Segmenter
Segmenter.from_pretrained("them/own", trust_remote_code=True)
"""


def test_code_of_the_hub_is_named_with_its_revision(hub: Hub, model: Path) -> None:
    hub.server.add("model", "them/own", {file.name: file.read_bytes() for file in model.iterdir()})
    commit = hub.server.repos["model", "them/own"].commits[-1].oid
    said = hub.run("-c", LOAD).stderr
    assert f"them/own runs its own code, OwnModel, at revision {commit}" in said


def test_code_of_another_repository_is_named_with_its_revision(caplog) -> None:
    module = f"transformers_modules.you.other_hyphen_code.{'0a' * 20}.own"
    of_another = type("OwnModel", (), {"__module__": module})()
    of_another.config = SimpleNamespace(auto_map={"AutoModel": "you/other-code--own.OwnModel"})
    report_remote_code(of_another, "me/model")
    words = f"me/model runs its own code, OwnModel, of you/other-code, at revision {'0a' * 20}"
    assert words in caplog.text
