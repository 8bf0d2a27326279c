"""Pushes a dataset to the Hub: parquet files, class tables and card."""

import tempfile
from pathlib import Path

import datasets

from hfseg.data.export import write_dataset
from hfseg.data.info import DatasetInfo
from hfseg.hub.commit import commit_files, prepare_repository
from hfseg.labels import LabelSet


def push_dataset(
    repo_id: str,
    data: datasets.DatasetDict,
    labels: LabelSet,
    info: DatasetInfo | None = None,
    *,
    private: bool | None = True,
    token: str | None = None,
) -> str:
    """Push what `write_dataset` writes in one commit, and return the URL of the commit.

    `DatasetDict.push_to_hub` would leave out the class tables, and does not check for secrets.

    Args:
        info: license and origin of a built-in dataset.
        private: visibility of a new repository; None uses the account's default.
        token: overrides the stored token.

    Raises:
        UserError: the repository can't be created or written to, or the card contains a secret.
    """
    # first, so that an invalid id or token is reported before the work
    repo_id = prepare_repository(repo_id, repo_type="dataset", private=private, token=token)
    with tempfile.TemporaryDirectory(prefix="hfseg-push-") as folder:
        target = Path(folder) / "dataset"
        write_dataset(target, data, labels, repo_id, info)
        files: dict[str, Path | bytes] = {
            path.relative_to(target).as_posix(): path
            for path in sorted(target.rglob("*"))
            if path.is_file()
        }
        return commit_files(
            repo_id,
            files,
            message="Dataset, class tables and card",
            repo_type="dataset",
            delete=("data/*.parquet",),
            token=token,
        )
