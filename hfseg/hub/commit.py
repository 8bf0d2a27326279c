"""Repositories and commits. A push is one commit, so that nobody sees half of it."""

import fnmatch
import logging
import mmap
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoUrl,
    create_repo,
    get_token,
    whoami,
)
from huggingface_hub.utils import validate_repo_id
from PIL import Image

from hfseg.disk import explain_disk_error
from hfseg.errors import UserError
from hfseg.hub_errors import explain_hub_error, seconds_to_wait

logger = logging.getLogger("hfseg")

Result = TypeVar("Result")

_WAITS = (1.0, 5.0)  # seconds between attempts
_LONGEST_WAIT = 120.0  # seconds, even if the Hub asks for more

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|API_?KEY", re.IGNORECASE)
_SHORTEST_SECRET = 8  # characters; shorter ones would match by chance
_TOKEN = re.compile(rb"hf_[A-Za-z0-9]{16,}|tps?://[^/\s:@\"']+:[^/\s@\"']+@")
"""A token of the Hub, or an address with a password."""


def check_token(repo_id: str, token: str | None = None) -> None:
    """Check the repository id and the token before any work is done. Changes nothing on the Hub.

    Raises:
        UserError: the id is not valid, the Hub rejects the token, or the Hub can't be reached.
    """

    def check() -> dict:
        validate_repo_id(repo_id)
        return whoami(token=token)

    call_hub(check, repo_id, "model")


def prepare_repository(
    repo_id: str,
    *,
    repo_type: str = "model",
    private: bool | None = None,
    token: str | None = None,
    space_sdk: str | None = None,
) -> str:
    """Create the repository if it does not exist, and check that it can be written to.

    Args:
        repo_id: `OWNER/NAME`, or `NAME` for one of your own.
        private: visibility of a new repository; None uses the account's default.
        token: overrides the stored token.
        space_sdk: for a Space only.

    Returns:
        The id with its owner.

    Raises:
        UserError: the repository can't be created or written to.
    """

    def create() -> RepoUrl:
        return create_repo(
            repo_id,
            repo_type=repo_type,
            private=private,
            token=token,
            space_sdk=space_sdk,
            exist_ok=True,
        )

    return call_hub(create, repo_id, repo_type).repo_id


def commit_files(
    repo_id: str,
    files: Mapping[str, Path | bytes],
    *,
    message: str,
    repo_type: str = "model",
    delete: Sequence[str] = (),
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Push files to a repository in one commit, and return the URL of the commit.

    Files that are unchanged on the Hub are not sent again, so a push that failed can simply be
    repeated.

    Args:
        files: path in the repository -> local file or content.
        delete: patterns of files to delete in the same commit, unless they are in `files`.

    Raises:
        UserError: a file contains a token or a path of this machine, or the Hub refuses.
    """
    _check_content(files)
    api = HfApi(token=token)

    def commit() -> CommitInfo:
        existing = api.list_repo_files(repo_id, repo_type=repo_type, revision=revision)
        stale = [
            path
            for path in existing
            if path not in files and any(fnmatch.fnmatchcase(path, each) for each in delete)
        ]
        return api.create_commit(
            repo_id,
            [
                *(CommitOperationDelete(path) for path in stale),
                *(CommitOperationAdd(path, content) for path, content in sorted(files.items())),
            ],
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
        )

    return call_hub(commit, repo_id, repo_type).commit_url


def call_hub(action: Callable[[], Result], repo_id: str, repo_type: str) -> Result:
    """Call the Hub, retry if that may help, and report an error in one sentence.

    The client itself retries uploads of files, but neither the creation of a repository nor the
    commit. Both are safe to repeat: what exists already is left unchanged.
    """
    waits = list(_WAITS)
    while True:
        try:
            return action()
        except Exception as error:  # from the Hub's client or its HTTP library
            on_disk = explain_disk_error(error)
            if waits and not on_disk and (requested := seconds_to_wait(error)) is not None:
                time.sleep(max(waits.pop(0), min(requested, _LONGEST_WAIT)))
                continue
            reason = on_disk or explain_hub_error(error, repo_id, repo_type, writing=True)
            if reason is None:
                raise
            raise UserError(f"can't push to {repo_id}: {reason}") from error


def _check_content(files: Mapping[str, Path | bytes]) -> None:
    """The last check before anything is published; hfseg's own files are redacted already."""
    private = [str(Path.home()) + os.sep] if len(Path.home().parts) > 1 else []
    private += [secret] if (secret := get_token()) else []
    private += [
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
    ]
    secrets = [each.encode() for each in private]
    for path, content in files.items():
        for part in _readable(path, content):
            if _TOKEN.search(part) or any(part.find(each) >= 0 for each in secrets):
                raise UserError(
                    f"{path} contains a token, a password, a secret from the environment or a path "
                    "in your home directory, so nothing was pushed; remove it and push again"
                )


def _readable(path: str, content: Path | bytes) -> Iterator[bytes | mmap.mmap]:
    """The bytes of a file, where weights and photos keep their notes too; a PNG compresses them."""
    if isinstance(content, bytes):
        yield content
    elif content.stat().st_size:
        with content.open("rb") as opened:
            yield mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    if path.endswith(".png"):
        file = BytesIO(content) if isinstance(content, bytes) else content
        with suppress(OSError, SyntaxError), Image.open(file) as image:
            yield repr([image.info, dict(image.getexif())]).encode()
