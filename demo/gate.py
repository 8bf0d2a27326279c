"""Between the page and the world: what a request may hold, and what an error may tell.

gradio serves more than this page needs. Its interface takes a web address wherever it takes a
file and fetches it, relays addresses by `/file=`, lets direct calls pass the queue, and holds an
upload to its limit file by file, but not in their number. What is refused here is refused for all
endpoints and components at once.
"""

import asyncio
import html
import os
import time
import traceback
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.api_component import Api
from gradio.utils import get_upload_folder
from .limits import KEPT_SECONDS, MAX_BODY, MAX_KEPT, MAX_UPLOAD, UPLOAD_SECONDS
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from hfseg.errors import UserError

NOT_UPLOADED = (
    "An image must be an uploaded file, not an address, a path or text: send it to "
    "/gradio_api/upload first, and give the path that comes back."
)
BAD_REQUEST = "The request is not what this endpoint takes: /gradio_api/info lists the parameters."
OUR_FAULT = "Something went wrong here; whoever runs this page finds the reason in its log."
FULL = "The page has no room for more files at the moment: try again in an hour."

# of gradio's own, and of no use to this page
_CLOSED = ("file=http:", "file=https:", "file=//", "proxy=", "process_recording", "deep_link",
           "component_server", "stream", "vibe", "profiling", "run-history")  # fmt: skip


class GuardedBlocks(gr.Blocks):
    """Blocks that take no file but an uploaded one, and answer every failure in one sentence."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any):
        try:
            check_files(inputs)
            # curl may leave out what has a default, as Python's client may
            inputs = [*inputs, *(block.value for block in _left_out(block_fn, inputs))]
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error:
            raise
        except Exception:  # whatever a stranger sent; theirs, so nothing for our log
            raise gr.Error(BAD_REQUEST, title="Not understood", print_exception=False) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error:
            raise
        except UserError as error:
            raise told(error) from None
        except Exception:
            traceback.print_exc()
            raise gr.Error(OUR_FAULT, print_exception=False) from None


def told(error: UserError) -> gr.Error:
    """The sentence for the visitor; gradio's pages show it as HTML."""
    sentence = html.escape(str(error), quote=False)
    return gr.Error(sentence[:1].upper() + sentence[1:], title="", print_exception=False)


def _left_out(block_fn: Any, inputs: list[Any]) -> list[Api]:
    rest = block_fn.inputs[len(inputs) :]
    return rest if all(isinstance(block, Api) for block in rest) else []


def check_files(inputs: Any) -> None:
    """Every file named anywhere in a request was uploaded here.

    Raises:
        gr.Error: one that was not.
    """
    folder = Path(get_upload_folder()).resolve()
    waiting = [inputs]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            if not {"path", "url"} & value.keys():
                continue
            path = value.get("path")
            if not isinstance(path, str) or not _is_file_in(folder, path):
                raise gr.Error(NOT_UPLOADED, title="Not an upload", print_exception=False)


def _is_file_in(folder: Path, path: str) -> bool:
    try:
        whole = Path(path).resolve()
        return whole.is_relative_to(folder) and whole.is_file()
    except (OSError, ValueError):  # such as a name with a null character
        return False


class Gate:
    """ASGI middleware: bounds on bytes and time of a request, and the routes that stay closed."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.since = time.time()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = scope["path"].split("/gradio_api/", 1)[-1].lstrip("/")
        if route.startswith(_CLOSED):
            await PlainTextResponse("This page does not do that.", 403)(scope, receive, send)
            return
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        uploads = route.startswith("upload")
        limit = MAX_UPLOAD if uploads else MAX_BODY
        too_large = f"This is more than the {limit >> 20} MiB that are allowed."
        if int(dict(scope["headers"]).get(b"content-length", b"0")) > limit:
            await PlainTextResponse(too_large, 413)(scope, receive, send)
            return
        if uploads and not await asyncio.to_thread(
            make_room, Path(get_upload_folder()), self.since
        ):
            await PlainTextResponse(FULL, 503)(scope, receive, send)
            return
        received, complete = 0, False
        deadline = time.monotonic() + UPLOAD_SECONDS

        async def counted() -> Any:
            nonlocal received, complete
            if complete:  # what comes now is the end of the connection, which may take its time
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0, deadline - time.monotonic()))
            except TimeoutError:
                raise HTTPException(408, "The upload took too long.") from None
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, too_large)
            complete = not message.get("more_body", False)
            return message

        await self.app(scope, counted, send)


def make_room(folder: Path, since: float, now: float | None = None) -> bool:
    """Delete what is old in the temporary folder; whether there is room for more.

    What is older than `since` are the page's own examples, which stay. Files that lie
    in the folder directly are uploads under way, or cut off; finished ones have a folder.
    """
    now = time.time() if now is None else now
    kept = 0
    for root, _, names in os.walk(folder):
        allowed = 2 * UPLOAD_SECONDS if Path(root) == folder else KEPT_SECONDS
        for name in names:
            file = Path(root, name)
            try:
                status = file.stat()
                if since < status.st_mtime < now - allowed:
                    file.unlink()
                else:
                    kept += status.st_size
            except OSError:  # another request was faster
                continue
    return kept < MAX_KEPT
