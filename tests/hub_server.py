"""The Hub's HTTP interface on loopback, in memory: what `huggingface_hub`'s real client needs.

    with HubServer() as hub:
        hub.fail("POST", "/commit/", status=503, times=2)
        subprocess.run([...], env={**os.environ, **hub.environment(tmp_path)})

By hand, `python tests/hub_server.py` serves until Ctrl-C and prints what to export.

Repositories of all three types, commits with regular and LFS files, branches and tags, private and
gated repositories, Range requests. Written against huggingface_hub 2.4.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_card_rules import card_errors

TOKEN = "hf_loopback"
USER = "me"
STRANGER = "hf_stranger"
"""A valid token of somebody without access to private and gated repositories, or to write."""
LFS_SUFFIXES = (".parquet", ".safetensors", ".bin", ".arrow", ".onnx", ".zip", ".pt")
TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}


class HubError(Exception):
    """An answer other than 200, with the Hub's own code."""

    def __init__(self, status: int, code: str, message: str, **body: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.body = status, code, message, body


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


@dataclass
class File:
    """One file of a commit."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """The git blob's SHA-1; for an LFS file that of its pointer, as on the Hub."""
        content = self.content
        if self.lfs:
            content = (
                "version https://git-lfs.github.com/spec/v1\n"
                f"oid sha256:{self.sha256}\nsize {len(content)}\n"
            ).encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Commit:
    oid: str
    title: str
    files: dict[str, File]


@dataclass
class Repo:
    """A repository: commits, oldest first, and the names that point at them."""

    type: str
    id: str
    private: bool = False
    gated: bool = False
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("initial commit", {})
        self.branches["main"] = self.commits[0].oid

    def commit(self, title: str, files: dict[str, File], branch: str = "main") -> Commit:
        seed = f"{self.type}/{self.id}/{len(self.commits)}/{title}"
        made = Commit(hashlib.sha1(seed.encode()).hexdigest(), title, files)
        self.commits.append(made)
        self.branches[branch] = made.oid
        return made

    def at(self, revision: str) -> Commit:
        revision = revision.removeprefix("refs/heads/")
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        for commit in self.commits:
            if commit.oid == oid:
                return commit
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    @property
    def files(self) -> dict[str, bytes]:
        """path -> content on `main`, for tests to look at."""
        return {path: file.content for path, file in self.at("main").files.items()}


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
        repo.commit("add", {path: File(data, _is_lfs(path)) for path, data in files.items()})
        return repo

    def update(self, type: str, id: str, files: dict[str, bytes]) -> None:
        """Another commit on `main`, without a client."""
        there = self.repos[type, id].at("main").files
        changed = {path: File(data, _is_lfs(path)) for path, data in files.items()}
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


def _is_lfs(path: str) -> bool:
    return path.endswith(LFS_SUFFIXES)


_REPO = r"(?P<id>[^/]+/[^/]+?|[^/]+)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_REPO}"
_ROUTES = [
    ("POST", r"/api/repos/create", "create"),
    ("DELETE", r"/api/repos/delete", "delete"),
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("POST", rf"{_API}/preupload/(?P<rev>[^/]+)", "preupload"),
    ("POST", rf"{_API}/commit/(?P<rev>[^/]+)", "commit"),
    ("GET", rf"{_API}/tree/(?P<rev>[^/]+)(?:/(?P<path>.*))?", "tree"),
    ("POST", rf"{_API}/paths-info/(?P<rev>[^/]+)", "paths_info"),
    ("GET", rf"{_API}/refs", "refs"),
    ("GET", rf"{_API}/commits/(?P<rev>[^/]+)", "commits"),
    ("POST", rf"{_API}/branch/(?P<name>[^/]+)", "branch"),
    ("POST", rf"{_API}/tag/(?P<rev>[^/]+)", "tag"),
    ("GET", rf"{_API}/revision/(?P<rev>[^/]+)", "info"),
    ("GET", _API, "info"),
    ("POST", r"/(?P<prefix>datasets/|spaces/)?" + _REPO + r"\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "put"),
    (
        "GET",
        r"/(?P<prefix>datasets/|spaces/)?" + _REPO + r"/resolve/(?P<rev>[^/]+)/(?P<path>.+)",
        "resolve",
    ),
]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that did not wait
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
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
                self._send(self.fault.status, b"<html>a gateway's page</html>", page)
                return
            for wanted, pattern, name in _ROUTES:
                match = re.fullmatch(pattern, parts.path) if wanted == method else None
                if match:
                    values = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
                    with self.server_hub.lock:
                        answer = getattr(self, name)(**values)
                    if answer is not None:
                        self._send(200, json.dumps(answer).encode())
                    return
            raise HubError(404, "EntryNotFound", f"no route for {method} {parts.path}")
        except HubError as error:
            self._send(
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

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
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

    @property
    def token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _repo(self, id: str, kind: str = "models") -> Repo:
        return self.server_hub.find(TYPES[kind], id, self.token)

    def _writable(self, id: str, kind: str = "models") -> Repo:
        if self.token == STRANGER:
            raise HubError(403, "Forbidden", "You don't have the rights to write there")
        if self.token != TOKEN:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        return self._repo(id, kind)

    # ---- account and repositories ----

    def whoami(self) -> dict[str, Any]:
        if self.token not in (TOKEN, STRANGER):
            raise HubError(401, "Unauthorized", "Invalid credentials in Authorization header")
        name, role = (USER, "write") if self.token == TOKEN else ("stranger", "read")
        return {
            "type": "user", "name": name, "fullname": name, "orgs": [],
            "auth": {"accessToken": {"displayName": "test", "role": role}},
        }  # fmt: skip

    def validate_yaml(self) -> dict[str, Any]:
        wish = json.loads(self.body)
        errors = [{"message": each} for each in card_errors(wish["content"], wish["repoType"])]
        if errors:
            said = "; ".join(each["message"] for each in errors)
            raise HubError(400, "BadRequest", said, errors=errors, warnings=[])
        return {"errors": [], "warnings": []}

    def create(self) -> dict[str, Any]:
        if self.token == STRANGER:
            raise HubError(403, "Forbidden", "You don't have the rights to create it there")
        if self.token != TOKEN:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        wish = json.loads(self.body)
        type = wish.get("type") or "model"
        id = f"{wish.get('organization') or USER}/{wish['name']}"
        url = f"{self.server_hub.endpoint}/{'' if type == 'model' else type + 's/'}{id}"
        if (type, id) in self.server_hub.repos:
            raise HubError(409, "RepoExists", "You already created this repo", url=url)
        private = bool(wish.get("private")) or wish.get("visibility") == "private"
        self.server_hub.repos[type, id] = Repo(type, id, private)
        return {"url": url, "name": id, "id": id}

    def delete(self) -> dict[str, Any]:
        wish = json.loads(self.body)
        id = f"{wish.get('organization') or USER}/{wish['name']}"
        type = wish.get("type") or "model"
        self.server_hub.find(type, id, self.token)
        del self.server_hub.repos[type, id]
        return {}

    # ---- reading ----

    def info(self, id: str, kind: str, rev: str = "main") -> dict[str, Any]:
        repo = self._repo(id, kind)
        commit = repo.at(rev)
        return {
            "_id": id, "id": id, "modelId": id, "author": id.split("/")[0], "sha": commit.oid,
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
            "private": repo.private, "gated": "auto" if repo.gated else False, "disabled": False,
            "downloads": 0, "likes": 0, "tags": [], "cardData": {},
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }  # fmt: skip

    def tree(self, id: str, kind: str, rev: str, path: str = "") -> list[dict[str, Any]]:
        files = self._repo(id, kind).at(rev).files
        root = path.strip("/") + "/" if path.strip("/") else ""
        entries: dict[str, dict[str, Any]] = {}
        recursive = self.query.get("recursive", "false").lower() in ("true", "1")
        for name, file in sorted(files.items()):
            if not name.startswith(root):
                continue
            inner = name[len(root) :].split("/")
            for depth in range(1, len(inner) if recursive else min(len(inner), 2)):
                folder = root + "/".join(inner[:depth])
                entries.setdefault(folder, _folder(folder))
            if recursive or len(inner) == 1:
                entries[name] = _entry(name, file)
        if root and not entries:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on {rev!r}")
        return list(entries.values())

    def paths_info(self, id: str, kind: str, rev: str) -> list[dict[str, Any]]:
        files = self._repo(id, kind).at(rev).files
        if "json" in self.headers.get("Content-Type", ""):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        found = []
        for path in [paths] if isinstance(paths, str) else paths:
            if path in files:
                found.append(_entry(path, files[path]))
            elif any(name.startswith(path.rstrip("/") + "/") for name in files):
                found.append(_folder(path))
        return found

    def refs(self, id: str, kind: str) -> dict[str, Any]:
        repo = self._repo(id, kind)

        def named(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": f"refs/{prefix}/{name}", "targetCommit": oid}
                for name, oid in names.items()
            ]

        return {
            "branches": named(repo.branches, "heads"),
            "tags": named(repo.tags, "tags"),
            "converts": [],
        }

    def commits(self, id: str, kind: str, rev: str) -> list[dict[str, Any]]:
        repo = self._repo(id, kind)
        newest = repo.commits.index(repo.at(rev))
        return [
            {
                "id": commit.oid, "title": commit.title, "message": "", "authors": [{"user": USER}],
                "date": "2026-01-01T00:00:00.000Z",
            }
            for commit in reversed(repo.commits[: newest + 1])
        ]  # fmt: skip

    def resolve(self, id: str, rev: str, path: str, prefix: str = "models/") -> None:
        commit = self._repo(id, prefix.rstrip("/")).at(rev)
        file = commit.files.get(path)
        if file is None:
            raise HubError(404, "EntryNotFound", f"Entry not found: {path}")
        etag = file.sha256 if file.lfs else file.oid
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Repo-Commit": commit.oid,
            "ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
            "Last-Modified": formatdate(0, usegmt=True),
        }
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(file.content))}
        content, status = file.content, 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            end = min(int(wanted[2] or len(content) - 1), len(content) - 1)
            if start >= len(content):
                raise HubError(416, "RangeNotSatisfiable", "the range starts after the end")
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content, status = content[start : end + 1], 206
        self._send(status, content, headers)

    # ---- writing ----

    def branch(self, id: str, kind: str, name: str) -> dict[str, Any]:
        repo = self._writable(id, kind)
        wish = json.loads(self.body or b"{}")
        if name in repo.branches:
            raise HubError(409, "RefExists", f"Reference refs/heads/{name} exists already")
        repo.branches[name] = repo.at(wish.get("startingPoint") or "main").oid
        return {}

    def tag(self, id: str, kind: str, rev: str) -> dict[str, Any]:
        repo = self._writable(id, kind)
        name = json.loads(self.body)["tag"]
        if name in repo.tags:
            raise HubError(409, "RefExists", f"Tag reference exists already: {name}")
        repo.tags[name] = repo.at(rev).oid
        return {}

    def preupload(self, id: str, kind: str, rev: str) -> dict[str, Any]:
        files = self._writable(id, kind).at(rev).files
        answers = []
        for wish in json.loads(self.body)["files"]:
            there = files.get(wish["path"])
            answer: dict[str, Any] = {
                "path": wish["path"],
                "uploadMode": "lfs" if _is_lfs(wish["path"]) else "regular",
                "shouldIgnore": False,
            }
            if there is not None:
                answer["oid"] = there.sha256 if there.lfs else there.oid
            answers.append(answer)
        return {"files": answers}

    def batch(self, id: str, prefix: str = "models/") -> dict[str, Any]:
        self._writable(id, prefix.rstrip("/"))
        objects = []
        for wish in json.loads(self.body)["objects"]:
            item = {"oid": wish["oid"], "size": wish["size"]}
            if wish["oid"] not in self.server_hub.lfs:
                href = f"{self.server_hub.endpoint}/lfs/{wish['oid']}"
                item["actions"] = {"upload": {"href": href, "header": {}}}
            objects.append(item)
        return {"transfer": "basic", "objects": objects}

    def put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, "BadRequest", "the content does not have this sha256")
        self.server_hub.lfs[oid] = self.body
        self._send(200, b"")

    def commit(self, id: str, kind: str, rev: str) -> dict[str, Any]:
        repo = self._writable(id, kind)
        parent = repo.at(rev)
        files, title = dict(parent.files), ""
        for line in self.body.splitlines():
            step = json.loads(line)
            value = step["value"]
            match step["key"]:
                case "header":
                    title = value["summary"]
                    if value.get("parentCommit") not in (None, parent.oid):
                        raise HubError(412, "PreconditionFailed", "the branch has moved on")
                case "file":
                    data = value["content"].encode()
                    if value.get("encoding") == "base64":
                        data = base64.b64decode(data)
                    files[value["path"]] = File(data, lfs=False)
                case "lfsFile":
                    if value["oid"] not in self.server_hub.lfs:
                        raise HubError(400, "BadRequest", f"{value['path']} was not uploaded")
                    files[value["path"]] = File(self.server_hub.lfs[value["oid"]], lfs=True)
                case "deletedFile":
                    files.pop(value["path"], None)
                case "deletedFolder":
                    folder = value["path"].rstrip("/") + "/"
                    files = {k: v for k, v in files.items() if not k.startswith(folder)}
        made = repo.commit(title, files, rev)
        prefix = "" if kind == "models" else f"{kind}/"
        return {
            "success": True,
            "commitOid": made.oid,
            "commitUrl": f"{self.server_hub.endpoint}/{prefix}{id}/commit/{made.oid}",
        }


def _folder(path: str) -> dict[str, Any]:
    return {
        "type": "directory", "path": path, "size": 0,
        "oid": hashlib.sha1(path.encode()).hexdigest(),
    }  # fmt: skip


def _entry(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file", "path": path, "size": len(file.content), "oid": file.oid,
    }  # fmt: skip
    if file.lfs:
        entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
    return entry


if __name__ == "__main__":
    with HubServer() as hub, tempfile.TemporaryDirectory() as home:
        for key, value in hub.environment(home).items():
            print(f"export {key}={value}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
