"""Models of the Hub, loaded by others: by revision and token, through faults, and not at all."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Hub
from hub_repos import STRANGER, TOKEN
from hub_server import HubServer

# One process loads whatever it is told, since starting one takes seconds; each time with a cache
# of the test's own, and without sleeping between tries.
LOADER = """
import json, sys, time
time.sleep = lambda seconds: None
import hfseg
from huggingface_hub import constants
constants.HF_HUB_DOWNLOAD_TIMEOUT = constants.HF_HUB_ETAG_TIMEOUT = 1
for line in sys.stdin:
    name, options, constants.HF_HUB_CACHE = json.loads(line)
    answer = {}
    try:
        segmenter = hfseg.Segmenter.from_pretrained(name, **options)
        answer["bias"] = float(segmenter.model.decode_head.classifier.bias[0])
    except hfseg.UserError as error:
        answer["error"] = str(error)
    print(json.dumps(answer), flush=True)
"""


class Loader:
    """A process that loads models of a Hub of its own; the bias of the head tells them apart."""

    def __init__(self, server: HubServer, home: Path) -> None:
        self.server = server
        self.cache = home
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOADER],
            env={**Hub(server, home).env, "HF_TOKEN": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def load(self, name: str, **options: str) -> float | str:
        """The bias, or the error's sentence."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([name, options, str(self.cache)]), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return answer.get("error") or answer["bias"]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    with HubServer() as server:
        loader = Loader(server, tmp_path_factory.mktemp("hf-home"))
        yield loader
        loader.process.kill()
        loader.process.wait()


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[float, dict[str, bytes]]:
    """Two models that differ in one number: bias -> files."""
    import torch

    from hfseg.labels import LabelSet
    from hfseg.models import load_model

    model, processor = load_model("segformer-tiny", LabelSet(("a", "b")), pretrained=False)
    found = {}
    for bias in (1.0, 2.0):
        folder = tmp_path_factory.mktemp("model")
        torch.nn.init.constant_(model.decode_head.classifier.bias, bias)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        found[bias] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return found


@pytest.fixture
def loader(process: Loader, versions: dict[float, dict[str, bytes]], tmp_path: Path) -> Loader:
    """`me/open`, `me/private` and `me/gated` with version 2, and version 1 behind the tag v1."""
    process.cache = tmp_path / "cache"
    process.server.repos.clear()
    process.server.faults.clear()
    for name in ("open", "private", "gated"):
        repo = process.server.add("model", f"me/{name}", versions[1.0])
        repo.tags["v1"] = repo.at("main").oid
        setattr(repo, name, True)
        process.server.update("model", f"me/{name}", versions[2.0])
    return process


def test_a_revision_loads_that_version(loader: Loader) -> None:
    assert loader.load("me/open") == 2.0
    assert loader.load("me/open", revision="v1") == 1.0
    oid = loader.server.repos["model", "me/open"].tags["v1"]
    assert loader.load("me/open", revision=oid) == 1.0
    assert "no such branch, tag or commit" in str(loader.load("me/open", revision="v9"))


@pytest.mark.parametrize("name", ["me/private", "me/gated"])
def test_a_token_gives_access_to_private_and_gated_models(loader: Loader, name: str) -> None:
    assert isinstance(loader.load(name), str)
    assert loader.load(name, token=TOKEN) == 2.0
    assert loader.load(name, token=TOKEN, revision="v1") == 1.0


@pytest.mark.parametrize(
    ("name", "token", "said"),
    [
        ("me/private", None, "log in"),
        ("me/private", STRANGER, "does not exist on the Hub"),
        ("me/gated", None, "request access"),
        ("me/gated", STRANGER, "request access"),
        ("me/opne", TOKEN, "does not exist on the Hub"),
        ("me/opne", None, "does not exist on the Hub"),
        ("me/open model", TOKEN, "write OWNER/NAME"),
        ("me/open", "hf_expired", "does not accept the token"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_reported_in_one_sentence(
    loader: Loader, name: str, token: str | None, said: str
) -> None:
    sentence = str(loader.load(name, **({"token": token} if token else {})))
    assert said in sentence and "\n" not in sentence
    assert name in sentence


def test_a_missing_processor_is_not_reported_as_a_hub_error(loader: Loader) -> None:
    files = loader.server.repos["model", "me/open"].files
    del files["preprocessor_config.json"]
    loader.server.add("model", "me/bare", files)
    assert "has no usable image processor" in str(loader.load("me/bare"))


FAULTS = [
    {"method": "HEAD", "path": "config.json", "status": 503},
    {"method": "GET", "path": "config.json", "status": 500},
    {"method": "GET", "path": "safetensors", "status": 503},
    {"method": "GET", "path": "safetensors", "status": 429, "headers": {"Retry-After": "1"}},
    {"method": "GET", "path": "safetensors", "cut": "download"},
    {"method": "GET", "path": "preprocessor_config", "cut": "download"},
    {"method": "GET", "path": "safetensors", "delay": 1.5},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_an_error_gives_the_right_weights_or_one_sentence_and_a_retry_succeeds(
    loader: Loader, fault: dict
) -> None:
    planned = loader.server.fail(**fault)
    first = loader.load("me/open")
    assert planned.times == 0, "the fault did not happen"
    assert first == 2.0 or ("try again" in str(first) and "\n" not in str(first)), first
    assert loader.load("me/open") == 2.0


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_a_permanent_error_is_reported_in_one_sentence_and_leaves_the_cache_intact(
    loader: Loader, fault: dict
) -> None:
    lasting = loader.server.fail(**{**fault, "times": 1000})
    sentence = loader.load("me/open")
    assert "try again" in str(sentence) and "\n" not in str(sentence), sentence
    lasting.times = 0
    assert loader.load("me/open") == 2.0
