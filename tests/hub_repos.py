"""What the loopback Hub holds: repositories with their commits and files, and who may see them."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

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


def is_lfs(path: str) -> bool:
    return path.endswith(LFS_SUFFIXES)
