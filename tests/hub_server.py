"""The Hub's HTTP interface on loopback, in memory: what `huggingface_hub`'s real client needs.

    with HubServer() as hub:
        hub.fail("POST", "/commit/", status=503, times=2)
        subprocess.run([...], env={**os.environ, **hub.environment(tmp_path)})

By hand, `python tests/hub_server.py` serves until Ctrl-C and prints what to export.

Repositories of all three types, commits with regular and LFS files, branches and tags, private and
gated repositories, Range requests. Written against huggingface_hub 2.4.
"""

import contextlib
import json
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repos import STRANGER, TOKEN, File, HubError, Repo, is_lfs
from hub_routes import ROUTES, Answers


@dataclass
class Fault:
    """What goes wrong with the next requests that fit.

    Attributes:
        method: of the requests.
        path: a regular expression that is found in their path.
        times: how many of them.
        status: answer with this instead.
        headers: of that answer, such as Retry-After.
        cut: break the connection: `upload` after half of the request's body, `download` after
            half of the answer's, `answer` when the request was carried out.
        delay: wait for this many seconds first.
    """

    method: str
    path: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: str | None = None
    delay: float = 0.0


class HubServer:
    """A Hub of its own on a free port; `repos` is what it holds, by (type, id)."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self.requests: list[tuple[str, str]] = []
        """(method, path) of every request, in order."""
        self.faults: list[Fault] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = _Listener(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self, home: Any) -> dict[str, str]:
        """What a child process needs in its environment to take this server for the Hub."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(home),
            "DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # `evaluate` would ask an address elsewhere
            "no_proxy": "127.0.0.1",
        }

    def add(self, type: str, id: str, files: dict[str, bytes], **options: bool) -> Repo:
        """Put a repository there without a client."""
        repo = self.repos[type, id] = Repo(type, id, **options)
        repo.commit("add", {path: File(data, is_lfs(path)) for path, data in files.items()})
        return repo

    def update(self, type: str, id: str, files: dict[str, bytes]) -> None:
        """Another commit on `main`, without a client."""
        there = self.repos[type, id].at("main").files
        changed = {path: File(data, is_lfs(path)) for path, data in files.items()}
        self.repos[type, id].commit("update", {**there, **changed})

    def fail(self, method: str, path: str, **what: Any) -> Fault:
        """Let something go wrong (see `Fault`)."""
        self.faults.append(Fault(method, path, **what))
        return self.faults[-1]

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def __enter__(self) -> "HubServer":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def find(self, type: str, id: str, token: str | None) -> Repo:
        if token not in (None, TOKEN, STRANGER):
            raise HubError(401, "Unauthorized", "Invalid credentials in Authorization header")
        repo = self.repos.get((type, id))
        if repo is None or (repo.private and token != TOKEN):
            status = 401 if token is None else 404
            raise HubError(status, "RepoNotFound", "Repository not found")
        if repo.gated and token != TOKEN:
            status = 401 if token is None else 403
            raise HubError(status, "GatedRepo", f"Access to {type} {id} is restricted.")
        return repo


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that did not wait
            super().handle_error(request, client_address)


class _Handler(Answers, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        self.server_hub.requests.append((self.command, self.path))
        self.fault = self.server_hub.next_fault(self.command, self.path)
        if self.fault is not None:
            time.sleep(self.fault.delay)
            if self.fault.cut == "upload":
                self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
                self._hang_up()
                return
        self.body = self._read_body()
        parts = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        try:
            if self.fault is not None and self.fault.status is not None:
                page = {"Content-Type": "text/html", **self.fault.headers}
                self.send(self.fault.status, b"<html>a gateway's page</html>", page)
                return
            for wanted, pattern, name in ROUTES:
                match = re.fullmatch(pattern, parts.path) if wanted == method else None
                if match:
                    values = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
                    with self.server_hub.lock:
                        answer = getattr(self, name)(**values)
                    if answer is not None:
                        self.send(200, json.dumps(answer).encode())
                    return
            raise HubError(404, "EntryNotFound", f"no route for {method} {parts.path}")
        except HubError as error:
            self.send(
                error.status,
                json.dumps({"error": error.message, **error.body}).encode(),
                {"X-Error-Code": error.code, "X-Error-Message": error.message},
            )

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json", **(headers or {})}
        cut = self.fault.cut if self.fault is not None else None
        if cut == "answer":
            self._hang_up()
            return
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if cut == "download":
            self.wfile.write(content[: len(content) // 2])
            self._hang_up()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    with HubServer() as hub, tempfile.TemporaryDirectory() as home:
        for key, value in hub.environment(home).items():
            print(f"export {key}={value}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
