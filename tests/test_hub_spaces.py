"""The metric and the demo on the Hub, and what is said where the Hub gives nothing."""

import ast
import contextlib
import json
import sys
import venv
from importlib.metadata import (
    PackageNotFoundError,
    distribution,
    packages_distributions,
    requires,
)
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Hub
from demo_server import free_port, started
from gradio_client import Client, handle_file
from hub_repos import STRANGER
from huggingface_hub import RepoCard
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from tiny_segformer import save_tiny

from hfseg.hub.space import space_files

SCRIPTS = REPOSITORY / "scripts"

USE_METRIC = """
import evaluate, numpy as np, sys
metric = evaluate.load("me/mean_iou")
metric.add_batch(
    predictions=[np.array([[0, 1], [1, 1]])], references=[np.array([[0, 0], [1, 255]])]
)
assert metric.compute(num_labels=2)["mean_iou"] == 0.5
assert "hfseg" not in sys.modules
print("done")
"""


@pytest.mark.slow
def test_anyone_can_load_the_pushed_metric(hub: Hub) -> None:
    hub.run(SCRIPTS / "push_metric.py", "--repo_id", "me/mean_iou")
    repo = hub.server.repos["space", "me/mean_iou"]
    assert set(repo.files) == {"mean_iou.py", "README.md", "app.py", "requirements.txt"}
    assert len(repo.commits) == 2
    card = RepoCard(repo.files["README.md"].decode())
    assert {"evaluate", "metric"} <= set(card.data.tags)
    assert card.data.to_dict()["sdk"] == "gradio"
    assert hub.run("-c", USE_METRIC, PYTHONPATH="").stdout.strip() == "done"


def test_the_demo_becomes_a_space_that_runs_the_model(hub: Hub, tmp_path: Path) -> None:
    hub.server.add("model", "me/roofs", {"config.json": b"{}"})
    script = SCRIPTS / "push_space.py"
    hub.run(script, "--repo_id", "me/roof-demo", "--model", "me/roofs")
    repo = hub.server.repos["space", "me/roof-demo"]
    header = RepoCard(repo.files["README.md"].decode()).data.to_dict()
    assert header["app_file"] == "app.py" and header["models"] == ["me/roofs"]
    here = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "demo").rglob("*.*")
        if "__pycache__" not in path.parts
    }
    assert here | {"hfseg/__init__.py", "hfseg/cards/model_card_template.md"} <= set(repo.files)
    assert not any("__pycache__" in path for path in repo.files)
    requirements = repo.files["requirements.txt"].decode().split()
    assert any(each.startswith("gradio") for each in requirements)

    # it starts: the page's own help is answered by the pushed files alone
    for path, content in repo.files.items():
        (tmp_path / "space" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / path).write_bytes(content)
    start = (
        "import os, runpy, sys; os.chdir(sys.argv[1]); sys.path.insert(0, ''); "
        "source = open('app.py').read().replace('\"--host\"', '\"--help\", \"--host\"'); "
        "exec(compile(source, 'app.py', 'exec'))"
    )
    shown = hub.run("-c", start, tmp_path / "space", PYTHONPATH="")
    assert "--models" in shown.stdout


def test_a_space_requires_whatever_its_files_import() -> None:
    files = space_files("me/roof-demo", "me/roofs")
    installed = installed_with(files["requirements.txt"].decode().splitlines())
    for path, content in files.items():
        if not path.endswith(".py"):
            continue
        source = content if isinstance(content, bytes) else content.read_bytes()
        for module in imported_modules(source) - {"hfseg", "demo", *OPTIONAL}:
            providers = {canonicalize_name(each) for each in PROVIDERS.get(module, [module])}
            assert module in sys.stdlib_module_names or providers & installed, (path, module)


OPTIONAL = {"optuna", "onnxruntime", "pillow_heif", "torchmetrics", "_typeshed"}
"""For tuning, export, HEIC and benchmarks where someone installs them, and for type checkers."""
PROVIDERS = packages_distributions()


def imported_modules(source: bytes) -> set[str]:
    """The first part of the name of every module that is imported anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def installed_with(requirements: list[str]) -> set[str]:
    """The names of the requirements, and of all that they require here."""
    waiting, found = list(requirements), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not wanted or name in found:
            continue
        found.add(name)
        with contextlib.suppress(PackageNotFoundError):
            waiting += requires(name) or []
    return found


@pytest.mark.slow
def test_the_pushed_space_starts_from_its_own_files_and_segments(hub: Hub, tmp_path: Path) -> None:
    photo = Image.fromarray(np.zeros((40, 60, 3), np.uint8))
    photo.save(tmp_path / "photo.png")
    model = save_tiny(tmp_path / "model")
    hub.server.add("model", "me/roofs", {path.name: path.read_bytes() for path in model.iterdir()})
    hub.run(SCRIPTS / "push_space.py", "--repo_id", "me/roof-demo", "--model", "me/roofs")
    space = tmp_path / "space"
    for path, content in hub.server.repos["space", "me/roof-demo"].files.items():
        (space / path).parent.mkdir(parents=True, exist_ok=True)
        (space / path).write_bytes(content)
    port = free_port()
    app = (space / "app.py").read_text().replace('"--host"', f'"--port", "{port}", "--host"')
    (space / "app.py").write_text(app)
    environment = {**hub.env, "PYTHONPATH": "", "SPACE_ID": "me/roof-demo"}
    requirements = (space / "requirements.txt").read_text().splitlines()
    python = fresh_environment(tmp_path / "env", requirements)
    with started([python, "app.py"], port, tmp_path / "log", cwd=space, env=environment):
        client = Client(f"http://127.0.0.1:{port}", verbose=False)
        mask, _, _ = client.predict(handle_file(tmp_path / "photo.png"), api_name="/segment")
        assert Image.open(mask).size == photo.size


def fresh_environment(folder: Path, requirements: list[str]) -> Path:
    """The interpreter of a new environment with what the requirements would install and nothing
    else; the packages are those of this environment, by links."""
    venv.create(folder, with_pip=False)
    target = next((folder / "lib").glob("python*")) / "site-packages"
    for name in installed_with(requirements):
        with contextlib.suppress(PackageNotFoundError):  # for another platform
            found = distribution(name)
            for part in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
                if not (target / part).is_symlink():
                    (target / part).symlink_to(found.locate_file(part))
    return folder / "bin" / "python"


def test_a_space_for_a_model_that_is_not_on_the_hub_is_one_sentence(hub: Hub) -> None:
    flags = ("--repo_id", "me/demo", "--model", "me/rofs")
    failed = hub.run(SCRIPTS / "push_space.py", *flags, check=False)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1 and "does not exist on the Hub" in failed.stderr
    assert not hub.server.repos


LOAD = """
import json, sys
from hfseg.errors import UserError
from hfseg.labels import LabelSet
import hfseg
loaders = {
    "model": lambda name: hfseg.load_model(name, LabelSet(("a", "b"))),
    "segmenter": lambda name: hfseg.Segmenter.from_pretrained(name),
    "data": lambda name: hfseg.load_dataset(name),
}
said = {}
for kind, load in loaders.items():
    for name in sys.argv[1:]:
        try:
            load(name)
        except UserError as error:
            said[f"{kind} {name}"] = str(error)
print(json.dumps(said))
"""


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"HF_TOKEN": STRANGER},
            {"private": "does not exist", "gated": "request access"},
        ),
        ({"HF_TOKEN": "hf_expired"}, {"gated": "does not accept the token"}),
        ({"HF_TOKEN": "", "HF_HUB_OFFLINE": "1"}, {"missing": "HF_HUB_OFFLINE"}),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"missing": "can't be reached"}),
    ],
    ids=["no access", "expired token", "offline", "no network"],
)
def test_a_read_error_is_reported_in_one_sentence_that_says_what_to_do(
    hub: Hub, environment: dict[str, str], said: dict[str, str]
) -> None:
    config = {"config.json": b'{"model_type": "segformer"}'}
    for type in ("model", "dataset"):
        hub.server.add(type, "me/private", config, private=True)
        hub.server.add(type, "me/gated", config, gated=True)
    names = [f"me/{name}" for name in said]
    answers = json.loads(hub.run("-c", LOAD, *names, **environment).stdout.splitlines()[-1])
    for kind in ("model", "segmenter", "data"):
        for name, words in said.items():
            sentence = answers[f"{kind} me/{name}"]
            assert words in sentence, (kind, name, sentence)
            assert "\n" not in sentence
