"""A token never ends in a log, a file or a commit, wherever it was given."""

from pathlib import Path

import pytest
from conftest import Hub, make_folder
from hub_repos import TOKEN
from test_hub_push import FLAGS, SECRETS, readable

from hfseg import load_dataset
from hfseg.data.addresses import check_address
from hfseg.errors import UserError
from hfseg.hub.commit import _check_content

CLI = "import sys; from hfseg.cli import main; main(sys.argv[1:])"


@pytest.mark.slow
def test_no_log_file_or_commit_holds_a_token_or_a_secret(hub: Hub, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", count=12)
    own = ("--dataset_name", "folder", "--dataset_path", data)
    run, said = tmp_path / "run", ""
    for command in (
        ("finetune", *own, *FLAGS, "--model_name_or_path", "segformer-tiny", "--output_dir", run,
         "--report_to", "tensorboard", "--push_to_hub", "--hub_model_id", "me/roofs",
         "--hub_strategy", "all_checkpoints", "--hub_token", TOKEN, "--save_strategy", "steps",
         "--save_steps", "1", "--log_level", "debug"),
        ("push", "dataset", *own, "--repo_id", "me/data"),
        ("push", "metric", "--repo_id", "me/metric"),
        ("push", "space", "--repo_id", "me/demo", "--model", "me/roofs"),
    ):  # fmt: skip
        environment = {**SECRETS, "TMPDIR": str(tmp_path), "HF_DEBUG": "1"}
        done = hub.run("-c", CLI, *command, **environment)
        said += done.stdout + done.stderr
    secrets = [secret.encode() for secret in (TOKEN, *SECRETS.values())]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("tfevents" in path.name for path in files) and run / "recipe.yaml" in files
    for path in files:
        content = readable(path.name, path.read_bytes())
        assert not [secret for secret in secrets if secret in content], path
    assert not [secret for secret in secrets if secret in said.encode()]
    kinds = {kind for kind, _ in hub.server.repos}
    assert kinds == {"model", "dataset", "space"}
    for repo in hub.server.repos.values():
        for commit in repo.commits:
            for name, file in commit.files.items():
                content = commit.title.encode() + readable(name, file.content)
                assert not [secret for secret in secrets if secret in content], (repo.id, name)


@pytest.mark.parametrize(
    "address",
    [
        "https://bob:swordfish-9@host/train-{00..03}.tar",
        "https://swordfish-9@host/data",
        "sftp://bob:swordfish-9@host/data",
        "https://host/data.parquet?X-Amz-Signature=swordfish-9",
        "hf://datasets/me/data?token=swordfish-9",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(address: str) -> None:
    for name, folder in ((address, None), ("folder", address)):
        with pytest.raises(UserError, match="holds a password or a token") as caught:
            load_dataset(name, folder)
        assert "fish-9" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/train-{00..03}.tar", "github://owner:repository@main/data",
        "abfs://container@account.dfs.core.windows.net/data", "https://host/a@b/data.parquet",
    ],
)  # fmt: skip
def test_an_address_without_a_secret_is_not(address: str) -> None:
    check_address(address)


READ_WITH_A_HEADER = """
import http.server, json, os, threading
import fsspec
asked = []
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.headers.get("Authorization"))
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"{}")
    do_HEAD = do_GET
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
from hfseg.data.addresses import beside
beside(f"http://127.0.0.1:{server.server_port}/data", "labels.json").read_text()
print(set(asked))
"""


@pytest.mark.slow
def test_the_environment_gives_fsspec_what_the_address_may_not_hold(hub: Hub) -> None:
    header = '{"headers": {"Authorization": "Bearer swordfish-9"}}'
    done = hub.run("-c", READ_WITH_A_HEADER, FSSPEC_HTTP=header)
    assert done.stdout.strip() == "{'Bearer swordfish-9'}"


@pytest.mark.parametrize("name", ["classes.csv", "examples/0.jpg", "data/0.parquet", "page.js"])
def test_a_file_of_any_kind_is_searched_before_it_is_pushed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PASSWORD", SECRETS["A_SECRET"])
    file = tmp_path / Path(name).name
    for secret in (SECRETS["A_SECRET"], "hf_" + "A1" * 12, "https://bob:opensesame@host/data"):
        file.write_bytes(b"\xff\xd8\0" + secret.encode() + b"\0")
        for content in (file, file.read_bytes()):
            with pytest.raises(UserError, match=f"{name} contains") as caught:
                _check_content({name: content})
            assert secret not in str(caught.value)
    file.write_bytes(b"")
    _check_content({name: file})
