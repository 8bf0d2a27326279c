"""Without a network the cache is used at once, and the Hub's libraries don't retry."""

import socket
import subprocess
import sys

import pytest
from launch import environment

from hfseg.hub_connection import PROXIES, work_offline_without_network


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch):
    import datasets
    from huggingface_hub import constants

    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("hfseg.hub_connection._no_network", False)
    work_offline_without_network.cache_clear()
    yield constants
    work_offline_without_network.cache_clear()


def test_a_hub_that_answers_is_used(online, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(online, "ENDPOINT", address)
        work_offline_without_network()
    assert not online.HF_HUB_OFFLINE


def test_a_hub_that_does_not_answer_leaves_the_cache(online, monkeypatch, caplog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    monkeypatch.setattr(online, "ENDPOINT", f"http://127.0.0.1:{free}")
    work_offline_without_network()
    assert online.HF_HUB_OFFLINE
    assert "can't be reached: using the local cache" in caplog.text


@pytest.mark.slow
def test_the_command_says_at_once_that_weights_are_missing(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    variables = environment(HF_ENDPOINT=f"http://127.0.0.1:{free}", HF_HOME=str(tmp_path / "home"))
    variables.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-m", "hfseg", "finetune", "--dataset_name", "toyscapes",
         "--model_name_or_path", "segformer-b0", "--output_dir", str(tmp_path / "run")],
        env=variables, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Retry" not in done.stderr and "can't be reached" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ") and "--from_scratch" in done.stderr
