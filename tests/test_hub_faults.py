"""Whatever the Hub does, a push ends complete, or fails with one sentence and can be repeated."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Hub
from hub_repos import STRANGER, TOKEN, Repo
from hub_server import HubServer
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save_file

# One process pushes whatever it is told, since starting one takes seconds. It does not sleep
# between tries: these tests are about the outcome.
PUSHER = """
import json, sys, time
slept = []
time.sleep = slept.append
from hfseg.errors import UserError
from hfseg.hub import prepare_repository, push_run
for line in sys.stdin:
    folder, repo_id, token = json.loads(line)
    slept.clear()
    error = None
    try:
        push_run(folder, prepare_repository(repo_id, token=token), token=token)
    except UserError as raised:
        error = str(raised)
    print(json.dumps([error, slept]), flush=True)
"""


class Pusher:
    """A process that pushes `folder` to the repository of this test on a Hub of its own."""

    def __init__(self, server: HubServer, home: Path) -> None:
        self.server = server
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUSHER],
            env={**Hub(server, home).env, **SECRETS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.slept: list[float] = []

    def push(self, folder: Path, token: str | bool = TOKEN) -> str | None:
        """The error message, or None if the push succeeded. Without a token: False."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([str(folder), "me/run", token]), file=self.process.stdin, flush=True)
        error, self.slept = json.loads(self.process.stdout.readline())
        return error

    @property
    def repo(self) -> Repo:
        return self.server.repos["model", "me/run"]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pusher]:
    with HubServer() as server:
        pusher = Pusher(server, tmp_path_factory.mktemp("hf-home"))
        yield pusher
        pusher.process.kill()
        pusher.process.wait()


@pytest.fixture
def pusher(process: Pusher) -> Pusher:
    """With an empty Hub that has no faults yet."""
    process.server.repos.clear()
    process.server.lfs.clear()
    process.server.faults.clear()
    return process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a finished run leaves, with weights that nobody trained."""
    folder = tmp_path / "run"
    (folder / "report").mkdir(parents=True)
    (folder / "checkpoint-3").mkdir()
    save_file({"a": np.arange(75_000, dtype=np.float32)}, folder / "model.safetensors")
    for name in ("config.json", "preprocessor_config.json", "eval_results.json"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text("# a card\n")
    (folder / "recipe.yaml").write_text("seed: 1\n")
    for name in ("report/curves.png", "training_args.bin", "checkpoint-3/optimizer.pt", "x.log"):
        (folder / name).write_bytes(b"x")
    return folder


PUSHED = {
    "README.md", "config.json", "eval_results.json", "model.safetensors",
    "preprocessor_config.json", "recipe.yaml", "report/curves.png",
}  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PUSHED}


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "POST", "path": "/repos/create", "status": 503},
        {"method": "POST", "path": "/validate-yaml", "status": 503},
        {"method": "POST", "path": "/commit/", "status": 500},
        {"method": "POST", "path": "/preupload/", "status": 503, "times": 3},
        {"method": "POST", "path": "objects/batch", "status": 502},
        {"method": "PUT", "path": "/lfs/", "status": 503},
        {"method": "PUT", "path": "/lfs/", "cut": "upload", "times": 2},
        {"method": "POST", "path": "/commit/", "cut": "upload"},
        {"method": "POST", "path": "/commit/", "cut": "answer"},
        {"method": "PUT", "path": "/lfs/", "delay": 1.5},
    ],
    ids=lambda fault: "-".join(str(value).strip("/") for value in fault.values()),
)
def test_a_temporary_error_ends_in_one_complete_commit(
    pusher: Pusher, folder: Path, fault: dict
) -> None:
    planned = pusher.server.fail(**fault)
    assert pusher.push(folder) is None
    assert planned.times == 0, "the fault did not happen"
    assert pusher.repo.files == content(folder)
    assert len(pusher.repo.commits) == 2  # the initial one and ours


def test_retries_wait_as_long_as_the_hub_asks(pusher: Pusher, folder: Path) -> None:
    pusher.server.fail("POST", "/commit/", status=429, headers={"Retry-After": "7"})
    assert pusher.push(folder) is None
    assert pusher.repo.files == content(folder)
    assert 7 in pusher.slept


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"method": "POST", "path": "/commit/", "status": 500}, "internal error (500)"),
        ({"method": "POST", "path": "/commit/", "status": 429}, "limiting requests (429)"),
        ({"method": "PUT", "path": "/lfs/", "cut": "upload"}, "connection was lost"),
        ({"method": "POST", "path": "/commit/", "status": 403}, "may not write to me/run"),
        ({"method": "POST", "path": "/validate-yaml", "status": 504}, "an invalid response"),
    ],
    ids=["500", "429", "cut", "403", "gateway"],
)
def test_a_permanent_error_is_reported_in_one_sentence_and_the_push_can_be_repeated(
    pusher: Pusher, folder: Path, fault: dict, message: str
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lasting = pusher.server.fail(**fault, times=100)
    error = pusher.push(folder)
    assert error is not None and message in error and "\n" not in error
    assert not pusher.repo.files, "half a push can be seen"
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    lasting.times = 0
    assert pusher.push(folder) is None
    assert pusher.repo.files == content(folder)


def test_old_files_are_deleted_in_the_same_commit(pusher: Pusher, folder: Path) -> None:
    old = ("pytorch_model.bin", "modeling_smp.py", "report/old.png", "training_args.bin", "LICENSE")
    repo = pusher.server.add("model", "me/run", {path: b"old" for path in old})
    before = len(repo.commits)
    assert pusher.push(folder) is None
    assert repo.files == {**content(folder), "LICENSE": b"old"}
    assert len(repo.commits) == before + 1


def test_pushing_unchanged_files_makes_no_commit(pusher: Pusher, folder: Path) -> None:
    assert pusher.push(folder) is None
    before = len(pusher.repo.commits)
    assert pusher.push(folder) is None
    assert len(pusher.repo.commits) == before


def test_damaged_weights_are_not_pushed(pusher: Pusher, folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "is damaged" in str(pusher.push(folder))
    assert not pusher.repo.files


def test_a_card_the_hub_rejects_is_reported_in_one_sentence(pusher: Pusher, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: mine\n---\n# a card\n")
    error = str(pusher.push(folder))
    assert "top of README.md (\"license\" 'mine' is not in the list); fix" in error
    assert "\n" not in error
    assert not pusher.repo.files


SECRETS = {"A_PASSWORD": "swordfish-9", "WANDB_API_KEY": "0123456789abcdef0123"}


@pytest.mark.parametrize("where", ["report/curves.png", "model.safetensors", "eval_results.json"])
def test_secrets_from_the_environment_are_found_in_images_and_weights_too(
    pusher: Pusher, folder: Path, where: str
) -> None:
    secret = SECRETS["A_PASSWORD"]
    if where.endswith(".png"):
        note = PngInfo()
        note.add_text("Comment", secret, zip=True)
        Image.new("L", (4, 4)).save(folder / where, pnginfo=note)
    elif where.endswith(".safetensors"):
        save_file({"a": np.zeros(3)}, folder / where, metadata={"by": secret})
    else:
        (folder / where).write_text(f'{{"key": "{SECRETS["WANDB_API_KEY"]}"}}')
    assert f"{where} contains" in str(pusher.push(folder))
    assert not pusher.repo.files


@pytest.mark.parametrize("secret", ["hf_" + "A1" * 12, str(Path.home() / "weights"), TOKEN])
def test_a_token_or_a_home_directory_is_never_pushed(
    pusher: Pusher, folder: Path, secret: str
) -> None:
    (folder / "eval_results.json").write_text(json.dumps({"note": secret}))
    error = str(pusher.push(folder))
    assert "eval_results.json contains" in error and secret not in error
    assert not pusher.repo.files


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_expired", "does not accept the token"),
        (STRANGER, "may not write to"),
        (False, "no token was found"),
    ],
)
def test_a_rejected_token_is_reported_in_one_sentence(
    pusher: Pusher, folder: Path, token: str | bool, message: str
) -> None:
    assert message in str(pusher.push(folder, token))
    assert not pusher.server.repos


def test_a_checkpoint_is_not_pushed_instead_of_its_run(pusher: Pusher, folder: Path) -> None:
    assert "is a checkpoint" in str(pusher.push(folder / "checkpoint-3"))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, so uploads"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "can't be reached"),
    ],
    ids=["offline", "no network"],
)
def test_an_unreachable_hub_is_reported(
    hub: Hub, folder: Path, environment: dict[str, str], message: str
) -> None:
    script = REPOSITORY / "scripts" / "push_model.py"
    failed = hub.run(script, folder, "--repo_id", "me/run", check=False, **environment)
    assert failed.returncode == 2
    (sentence,) = failed.stderr.splitlines()
    assert sentence.startswith("error: ") and message in sentence
