"""Errors of the Hub, each reported in one sentence that says what to do."""

import json

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hfseg.errors import causes
from hfseg.hub_connection import found_no_network

_NO_TOKEN = (
    "no token was found, so you are not logged in to the Hub; run `hf auth login`, or set HF_TOKEN"
)
_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}


def explain_hub_error(
    error: BaseException, repo_id: str, repo_type: str = "model", writing: bool = False
) -> str | None:
    """The reason and the remedy, without a period, or None if the Hub is not the cause.

    Libraries wrap the Hub's errors in their own, so the causes of `error` are examined too.

    Args:
        error: the exception.
        repo_id: the repository that was accessed.
        repo_type: model, dataset or space.
        writing: the access was a write, not a read.
    """
    for cause in causes(error):
        # transformers and datasets drop the cause in offline mode
        if constants.HF_HUB_OFFLINE and ("connect to" in str(cause) or _is_connection_error(cause)):
            cause = OfflineModeIsEnabled()
        sentence = _sentence(cause, repo_id, repo_type, writing)
        if sentence:
            return sentence
    return None


def seconds_to_wait(error: BaseException) -> float | None:
    """Seconds until a retry may succeed (0: unknown), None if it never will."""
    for cause in causes(error):
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            if status not in (408, 429) and status < 500:
                return None
            seconds = cause.response.headers.get("Retry-After", "")
            return float(seconds) if seconds.isdigit() else 0.0
        if _is_connection_error(cause) or isinstance(cause, json.JSONDecodeError):
            return 0.0
    return None


def _sentence(error: BaseException, repo_id: str, repo_type: str, writing: bool) -> str | None:
    page = f"{constants.ENDPOINT}/{_PREFIX[repo_type]}{repo_id}"
    if isinstance(error, HFValidationError):
        return f"{repo_id!r} is not a valid repository id; write OWNER/NAME"
    if isinstance(error, OfflineModeIsEnabled) and found_no_network():
        return (
            f"{constants.ENDPOINT} can't be reached, and {repo_id} is not in the local cache; "
            "check the network, or give a local folder"
        )
    if isinstance(error, LocalTokenNotFoundError):
        return _NO_TOKEN
    if isinstance(error, OfflineModeIsEnabled):
        if writing:
            return "HF_HUB_OFFLINE is set, so uploads are disabled; unset it"
        return (
            f"{repo_id} is not completely in the local cache, and HF_HUB_OFFLINE is set, so "
            "downloads are disabled; unset it, or give a local folder"
        )
    # `datasets` raises its own error for both, and drops the Hub's
    not_found = type(error).__name__ == "DatasetNotFoundError"
    if isinstance(error, GatedRepoError) or (not_found and "gated" in str(error)):
        return (
            f"{repo_id} is gated; request access at {page}, then log in with `hf auth login` or "
            "HF_TOKEN"
        )
    if isinstance(error, HfHubHTTPError) and _is_unauthorized(error):
        if "authorization" not in error.response.request.headers:
            return _NO_TOKEN
        return (
            "the Hub does not accept the token, which is invalid or expired; create one at "
            f"{constants.ENDPOINT}/settings/tokens and log in with `hf auth login` or HF_TOKEN"
        )
    if isinstance(error, RepositoryNotFoundError) or not_found:
        return (
            f"the {repo_type} {repo_id!r} does not exist on the Hub or is private; check the "
            "spelling, or log in with `hf auth login` or HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no such branch, tag or commit; {page}/tree/main lists them"
    if isinstance(error, HfHubHTTPError):
        return _status_sentence(error, repo_id, writing)
    if writing and isinstance(error, ValueError) and "Invalid metadata" in str(error):
        reason = " ".join(str(error).partition("\n")[2].split())[:300].removeprefix("- ")
        return f"the Hub does not accept the metadata at the top of README.md ({reason}); fix it"
    if writing and isinstance(error, json.JSONDecodeError):
        # a gateway's page instead of the Hub's answer
        return f"{constants.ENDPOINT} sent an invalid response; try again later"
    if _is_connection_error(error):
        return (
            f"the Hub at {constants.ENDPOINT} can't be reached or the connection was lost; check "
            "the network and try again"
        )
    return None


def _status_sentence(error: HfHubHTTPError, repo_id: str, writing: bool) -> str:
    status = error.response.status_code
    if status == 403:
        return (
            f"your token may not {'write to' if writing else 'read'} {repo_id}; use one with that "
            "permission, and check the owner in the id"
        )
    if status == 429:
        return "the Hub is limiting requests (429); wait a few minutes and try again"
    if status >= 500:
        return f"the Hub has an internal error ({status}); try again later"
    if status == 412:
        return f"{repo_id} was changed by someone else at the same time; try again"
    return f"the Hub refused the request ({' '.join(str(error).split())[:200]})"


def _is_unauthorized(error: HfHubHTTPError) -> bool:
    """A 401 because of the token; without one it may also be that of a private repository."""
    if error.response.status_code != 401:
        return False
    code = error.response.headers.get("X-Error-Code")
    return code not in ("RepoNotFound", "GatedRepo") or get_token() is not None


def _is_connection_error(error: BaseException) -> bool:
    """By module name, since the HTTP library differs between versions of huggingface_hub."""
    library = type(error).__module__.split(".")[0]
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, OfflineModeIsEnabled):
        return False  # a setting
    if library in ("httpx", "httpx2", "httpcore", "requests", "urllib3"):
        return bool({"TransportError", "RequestException", "NetworkError"} & names)
    return isinstance(error, ConnectionError)
