"""ASGI middleware that limits which requests reach the page, their size and their duration.

gradio serves more than this page needs. Everything not listed here is refused, so that routes added
by later versions of gradio stay closed too.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .arguments import Endpoint, Refused, is_upload
from .limits import MAX_BODY, MAX_UPLOAD, UPLOAD_SECONDS
from .uploads import Uploads

OUR_FAULT = "Something went wrong here; the log of this page has the details."
NO_ADDRESS = "This page has no such address."

_READ = re.compile(
    r"/(config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?)?"
    r"|/(assets|static|page)/[\w@.+/-]+"
    r"|/gradio_api/(info/?|openapi\.json|startup-events|theme\.css|app_id/?|upload_progress)"
    r"|/gradio_api/(queue/data|heartbeat/\w+|call/\w+/\w+)"
)
_WRITE = re.compile(r"/gradio_api/(upload|queue/join|call/\w+|run/\w+|cancel|reset)/?")
_FILE = "/gradio_api/file="

_HEADERS = [
    # gradio's page needs inline scripts and compiles templates; nothing leads to another host
    (
        b"content-security-policy",
        b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        b"style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
]
_log = logging.getLogger("hfseg.demo")


class Gate:
    """Passes the requests that the page needs, within limits on their size and duration.

    Args:
        app: the app behind it.
        endpoints: name -> the parameters of a direct call.
        functions: number of functions that the page itself may call by index.
        uploads: the files of visitors.
    """

    def __init__(
        self, app: ASGIApp, endpoints: Mapping[str, Endpoint], functions: int, uploads: Uploads
    ) -> None:
        self.app = app
        self.endpoints = endpoints
        self.functions = functions
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no web sockets
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        try:
            await self._answer(scope, receive, guarded)
        except Refused as refusal:
            if not started:
                await _refuse(guarded, refusal)
        except ClientDisconnect:
            pass
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if not started:
                await _refuse(guarded, Refused(500, OUR_FAULT))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] in ("GET", "HEAD"):
            if not (
                is_upload(path.removeprefix(_FILE))
                if path.startswith(_FILE)
                else _READ.fullmatch(path) and ".." not in path
            ):
                raise Refused(404, NO_ADDRESS)
            await self.app(scope, receive, send)
        elif scope["method"] == "POST" and _WRITE.fullmatch(path):
            client = scope["client"][0] if scope.get("client") else ""
            if path.startswith("/gradio_api/upload"):
                await self._upload(client, scope, receive, send)
            else:
                await asyncio.to_thread(self.uploads.sweep)
                body = await _body(scope, receive)
                self._check(path.split("/")[2:], body)
                await self.app(scope, _replayed(body, receive), send)
        else:
            raise Refused(404, NO_ADDRESS)

    async def _upload(self, client: str, scope: Scope, receive: Receive, send: Send) -> None:
        length = _stated_length(scope, MAX_UPLOAD)
        await asyncio.to_thread(self.uploads.make_room, client, length or MAX_UPLOAD)
        answer: list[bytes] = []

        async def listening(message: Message) -> None:
            answer.append(message.get("body", b""))
            await send(message)

        await self.app(scope, _bounded(receive, MAX_UPLOAD), listening)
        self.uploads.record(client, b"".join(answer))

    def _check(self, route: list[str], body: bytes) -> None:
        """Raise Refused unless the body is valid for the route."""
        request = _parsed(body)
        if route[0] in ("call", "run"):
            name = route[1]
            if name not in self.endpoints:
                names = ", ".join(f"/{name}" for name in self.endpoints)
                raise Refused(404, f"There is no endpoint /{name}; there are {names}.")
            if route[0] == "run" and self.endpoints[name].queued:
                raise Refused(404, f"/{name} is queued: call it at call/{name}.")
            self.endpoints[name].check(_data(request))
        elif route[0] == "queue":
            _data(request)
            index = request.get("fn_index")
            if not isinstance(index, int) or not 0 <= index < self.functions:
                raise Refused(404, "fn_index must be the number of a function of this page.")
        session = request.get("session_hash")
        if not isinstance(session, str | None):
            raise Refused(422, "session_hash must be text.")


def _parsed(body: bytes) -> dict[str, object]:
    def no_number(text: str) -> float:
        raise Refused(422, f"{text} is not a finite number.")

    def finite(text: str) -> float:
        value = float(text)
        return value if abs(value) != float("inf") else no_number(text)

    try:
        request = json.loads(body, parse_constant=no_number, parse_float=finite)
    except (ValueError, RecursionError):
        raise Refused(400, "The body must be JSON.") from None
    if not isinstance(request, dict):
        raise Refused(422, 'The body must be a JSON object, such as {"data": []}.')
    return request


def _data(request: dict[str, object]) -> list[object]:
    data = request.get("data")
    if not isinstance(data, list):
        raise Refused(422, "data must be the list of the endpoint's values.")
    return data


def _stated_length(scope: Scope, limit: int) -> int:
    """The Content-Length, 0 if there is none; Refused if it is too large."""
    text = dict(scope["headers"]).get(b"content-length", b"0")
    length = int(text) if text.isdigit() else 0
    if length > limit:
        raise _too_large(limit)
    return length


def _too_large(limit: int) -> Refused:
    return Refused(413, f"This is larger than the allowed {limit >> 20} MiB.")


def _bounded(receive: Receive, limit: int) -> Receive:
    """`receive`, limited to this many bytes and to UPLOAD_SECONDS."""
    received, complete = 0, False
    deadline = time.monotonic() + UPLOAD_SECONDS

    async def bounded() -> Message:
        nonlocal received, complete
        if complete:  # the end of the connection has no time limit
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0, deadline - time.monotonic()))
        except TimeoutError:
            raise Refused(408, "The upload took too long.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        complete = not message.get("more_body", False)
        return message

    return bounded


async def _body(scope: Scope, receive: Receive) -> bytes:
    _stated_length(scope, MAX_BODY)
    bounded = _bounded(receive, MAX_BODY)
    parts: list[bytes] = []
    more = True
    while more:
        message = await bounded()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


async def _refuse(send: Send, refusal: Refused) -> None:
    body = json.dumps({"detail": refusal.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"),
               (b"content-length", str(len(body)).encode())]  # fmt: skip
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
