"""Repositories and commits: all of a push in one commit, so that nobody sees half of it."""

import fnmatch
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from hfseg.errors import UserError
from hfseg.hub_errors import explain_hub_error, seconds_to_wait

logger = logging.getLogger("hfseg")

Result = TypeVar("Result")

_WAITS = (1.0, 5.0)  # seconds between tries
_LONGEST_WAIT = 120.0  # that the Hub may ask for

_TEXT = (".md", ".json", ".yaml", ".yml", ".py", ".txt", ".css")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|API_?KEY", re.IGNORECASE)
_SHORTEST_SECRET = 8  # characters; anything shorter is found by chance
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")


def check_token(repo_id: str, token: str | None = None) -> None:
    """Find out, before any work is done, that nothing can be pushed; changes nothing on the Hub.

    Raises:
        UserError: a name that is none, a token that the Hub does not accept, or no Hub.
    """
    from huggingface_hub import whoami
    from huggingface_hub.utils import validate_repo_id

    def check() -> Any:
        validate_repo_id(repo_id)
        return whoami(token=token)

    asked(check, repo_id, "model")


def prepare_repository(
    repo_id: str,
    *,
    repo_type: str = "model",
    private: bool | None = None,
    token: str | None = None,
    space_sdk: str | None = None,
) -> str:
    """Make the repository if it isn't there; finds out whether it can be written to.

    Args:
        repo_id: `OWNER/NAME`, or `NAME` for one of your own.
        private: of a new repository; None leaves it to the account's settings.
        token: instead of the one that is logged in.
        space_sdk: for a space.

    Returns:
        The id with its owner.

    Raises:
        UserError: a repository that can't be made or written to.
    """
    from huggingface_hub import create_repo

    def create() -> Any:
        return create_repo(
            repo_id,
            repo_type=repo_type,
            private=private,
            token=token,
            space_sdk=space_sdk,
            exist_ok=True,
        )

    return asked(create, repo_id, repo_type).repo_id


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
    """Put files into a repository, in one commit, and return the commit's page.

    Files that are there already in the same form are not sent again, so a push that failed is
    repeated by doing the same once more.

    Args:
        files: path in the repository -> local file or content.
        delete: patterns of what an earlier push left; goes in the same commit, unless it is in
            `files`.

    Raises:
        UserError: a file that tells of this machine or holds a token, or a Hub that refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    _check_content(files)
    api = HfApi(token=token)

    def commit() -> Any:
        there = api.list_repo_files(repo_id, repo_type=repo_type, revision=revision)
        stale = [
            path
            for path in there
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

    return asked(commit, repo_id, repo_type).commit_url


def asked(action: Callable[[], Result], repo_id: str, repo_type: str) -> Result:
    """The result of a call to the Hub; what it raises as one sentence.

    The client repeats by itself what uploads a file, but neither the making of a repository nor
    the commit. Doing those again does no harm: what is there already is left as it is.
    """
    waits = list(_WAITS)
    while True:
        try:
            return action()
        except Exception as error:  # of the Hub's client and of the HTTP library under it
            if waits and (asked_wait := seconds_to_wait(error)) is not None:
                time.sleep(max(waits.pop(0), min(asked_wait, _LONGEST_WAIT)))
                continue
            reason = explain_hub_error(error, repo_id, repo_type, writing=True)
            if reason is None:
                raise
            raise UserError(f"{repo_id} can't be pushed to: {reason}") from error


def _check_content(files: Mapping[str, Path | bytes]) -> None:
    """The last guard before anything is published; what hfseg writes is clean already."""
    from huggingface_hub import get_token

    private = [str(Path.home()) + os.sep] if len(Path.home().parts) > 1 else []
    private += [secret] if (secret := get_token()) else []
    private += [
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
    ]
    for path, content in files.items():
        text = _text_of(path, content)
        if _TOKEN.search(text) or any(each in text for each in private):
            raise UserError(
                f"{path} holds a token, a secret of the environment or a path in your home "
                "directory, so nothing was pushed; take it out and push again"
            )


def _text_of(path: str, content: Path | bytes) -> str:
    """What can be read in a file: all of a text, the metadata of a picture or of weights."""
    if path.endswith(_TEXT):
        content = content.read_bytes() if isinstance(content, Path) else content
        return content.decode("utf-8", errors="replace")
    if path.endswith(".png"):
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(BytesIO(content) if isinstance(content, bytes) else content) as picture:
                return repr([picture.info, dict(picture.getexif())])
        except UnidentifiedImageError:
            return ""
    if path.endswith(".safetensors") and isinstance(content, Path):
        from safetensors import safe_open

        with safe_open(content, framework="np") as weights:
            return repr(weights.metadata())
    return ""
