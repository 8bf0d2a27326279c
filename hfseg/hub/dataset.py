"""Pushes a dataset to the Hub: parquet files, class tables and card."""

import shutil
import tempfile
from pathlib import Path

import datasets

from hfseg.data.export import holds_part_of, write_dataset
from hfseg.data.info import DatasetInfo
from hfseg.hub.commit import commit_files, prepare_repository
from hfseg.labels import LabelSet
from hfseg.processes import Processes


def push_dataset(
    repo_id: str,
    data: datasets.DatasetDict,
    labels: LabelSet,
    info: DatasetInfo | None = None,
    *,
    private: bool | None = True,
    token: str | None = None,
    folder: str | Path | None = None,
) -> str:
    """Push what `write_dataset` writes in one commit, and return the URL of the commit.

    `DatasetDict.push_to_hub` would leave out the class tables, and does not check for secrets.

    Args:
        info: license and origin of a built-in dataset.
        private: visibility of a new repository; None uses the account's default.
        token: overrides the stored token.
        folder: where the files are written first, and from where the next attempt continues; it is
            removed after the push. None: a temporary folder, for a single process.

    Raises:
        UserError: the repository can't be created or written to, or the card contains a secret.
    """
    # first, so that an invalid id or token is reported before the work
    processes = Processes()
    repo_id = processes.agreed(
        lambda: prepare_repository(repo_id, repo_type="dataset", private=private, token=token)
    )
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="hfseg-push-") as parent:
            target = Path(parent) / "dataset"
            write_dataset(target, data, labels, repo_id, info, processes)
            return _commit(repo_id, target, token)
    target = Path(folder)
    if processes.is_first and not holds_part_of(target, data, labels):
        shutil.rmtree(
            target, ignore_errors=True
        )  # left by a push of other data, or one that failed
    write_dataset(target, data, labels, repo_id, info, processes)
    commit = processes.agreed(lambda: _commit(repo_id, target, token))
    if processes.is_first:
        shutil.rmtree(target)
    return commit


def _commit(repo_id: str, folder: Path, token: str | None) -> str:
    files: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
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
