"""The files of visitors: their total size is limited, and old ones are deleted."""

import contextlib
import json
import os
import threading
import time
from pathlib import Path

from gradio.utils import get_upload_folder

from .limits import KEPT_SECONDS, MAX_FILES, MAX_KEPT, MAX_PER_CLIENT, UPLOAD_SECONDS

_SWEEP_SECONDS = 10


class Uploads:
    """Keeps the temporary folder within its limits.

    A client at its limit loses its own oldest files. If all files exceed the total limit, the
    oldest are deleted, including results. Files older than this object are the page's examples,
    which are kept.
    """

    def __init__(self) -> None:
        self.since = time.time()
        self._owners: dict[str, str] = {}  # path -> client, in the order of arrival
        self._lock = threading.Lock()
        self._swept = 0.0
        self._received = 0  # bytes since then

    def record(self, client: str, answer: bytes) -> None:
        """Record the owner of the files in gradio's response to an upload."""
        try:
            paths = json.loads(answer)
        except ValueError:  # a refusal
            return
        if isinstance(paths, list):
            with self._lock:
                for path in paths:
                    self._owners.setdefault(path, client)

    def make_room(self, client: str, size: int) -> None:
        """Make room before the client uploads this many bytes."""
        with self._lock:
            sizes = {path: _size(path) for path, owner in self._owners.items() if owner == client}
            total = sum(sizes.values()) + size
            for path, bytes_ in sizes.items():
                if total <= MAX_PER_CLIENT:
                    break
                _delete(path)
                del self._owners[path]
                total -= bytes_
            self._received += size
        # not for every small file, since it looks at all of them
        self.sweep(size, always=self._received > MAX_KEPT // 32)

    def sweep(self, size: int = 0, always: bool = False) -> None:
        """Delete old files, and then the oldest until there is room for this many bytes.

        Without `always` at most every few seconds.
        """
        with self._lock:
            now = time.time()
            if not always and now - self._swept < _SWEEP_SECONDS:
                return
            self._swept, self._received = now, 0
            kept = []
            folder = Path(get_upload_folder())
            for root, _, names in os.walk(folder):
                # files in the folder itself are uploads in progress, or interrupted ones
                partial = Path(root) == folder
                allowed = 2 * UPLOAD_SECONDS if partial else KEPT_SECONDS
                for name in names:
                    file = os.path.join(root, name)
                    try:
                        status = os.stat(file)
                    except OSError:  # finished in the meantime
                        continue
                    if status.st_mtime < self.since:
                        continue
                    if status.st_mtime < now - allowed:
                        _delete(file, with_folder=not partial)
                    elif not partial:
                        kept.append((status.st_mtime, status.st_size, file))
            total, count = sum(length for _, length, _ in kept) + size, len(kept)
            for _, length, file in sorted(kept):
                if total <= MAX_KEPT and count <= MAX_FILES:
                    break
                _delete(file)
                total, count = total - length, count - 1
            self._owners = {path: who for path, who in self._owners.items() if _size(path)}


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _delete(path: str, with_folder: bool = True) -> None:
    with contextlib.suppress(OSError):  # another request was faster
        os.unlink(path)
        if with_folder:  # of its own, mostly
            os.rmdir(os.path.dirname(path))
