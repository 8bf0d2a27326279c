"""What the loopback Hub answers to each request, once `hub_server` has read it."""

import base64
import hashlib
import json
import re
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from hub_card_rules import card_errors
from hub_repos import STRANGER, TOKEN, TYPES, USER, File, HubError, Repo, is_lfs

if TYPE_CHECKING:
    from hub_server import HubServer

_REPO = r"(?P<id>[^/]+/[^/]+?|[^/]+)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_REPO}"
ROUTES = [
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


class Answers:
    """A method for each name in `ROUTES`: what it returns is sent as JSON."""

    server_hub: "HubServer"
    headers: Any
    query: dict[str, str]
    body: bytes

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """The handler's own way to answer with something else than JSON."""
        raise NotImplementedError

    @property
    def token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _repo(self, id: str, kind: str = "models") -> Repo:
        return self.server_hub.find(TYPES[kind], id, self.token)

    def _check_writer(self) -> None:
        if self.token == STRANGER:
            raise HubError(403, "Forbidden", "You don't have the rights to write there")
        if self.token != TOKEN:
            raise HubError(401, "Unauthorized", "Invalid username or password.")

    def _writable(self, id: str, kind: str = "models") -> Repo:
        self._check_writer()
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
        self._check_writer()
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
        self.send(status, content, headers)

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
                "uploadMode": "lfs" if is_lfs(wish["path"]) else "regular",
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
        self.send(200, b"")

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
