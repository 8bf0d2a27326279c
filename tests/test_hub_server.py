"""The loopback Hub behaves as the real client expects."""

from conftest import Hub

ROUND_TRIP = """
import datasets, huggingface_hub, sys
from huggingface_hub import HfApi
api = HfApi()
assert api.whoami()["name"] == "me"
api.create_repo("me/model")
api.create_repo("me/model", exist_ok=True)
api.upload_file(path_or_fileobj=b"hello", path_in_repo="sub dir/a.txt", repo_id="me/model")
api.upload_file(path_or_fileobj=bytes(3000), path_in_repo="w.safetensors", repo_id="me/model")
api.create_tag("me/model", tag="v1")
api.create_branch("me/model", branch="dev")
folder = huggingface_hub.snapshot_download("me/model", revision="v1")
assert open(folder + "/sub dir/a.txt", "rb").read() == b"hello"
assert open(folder + "/w.safetensors", "rb").read() == bytes(3000)
assert api.list_repo_files("me/model") == ["sub dir/a.txt", "w.safetensors"]
for name, error in (("me/none", "RepositoryNotFoundError"), ("me/model", "EntryNotFoundError")):
    try:
        huggingface_hub.hf_hub_download(name, "none.txt")
    except Exception as caught:
        assert type(caught).__name__ in (error, "Remote" + error), type(caught)
    else:
        raise SystemExit(f"no {error}")

data = datasets.Dataset.from_dict({"x": list(range(10))})
datasets.DatasetDict(train=data, validation=data.select([3])).push_to_hub("me/data", private=True)
assert datasets.load_dataset("me/data")["train"]["x"] == list(range(10))
stream = datasets.load_dataset("me/data", streaming=True)
assert [row["x"] for row in stream["validation"]] == [3]
print("done")
"""


def test_the_real_client_uploads_and_downloads(hub: Hub) -> None:
    assert hub.run("-c", ROUND_TRIP).stdout.strip().endswith("done")
    repo = hub.server.repos["dataset", "me/data"]
    assert repo.private
    assert any(path.endswith(".parquet") for path in repo.files)
