"""One run at a time in an output folder."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from hfseg.errors import UserError

LOCK_FILE = ".lock"


class FolderLock:
    """Keeps a second run out of an output folder, for as long as the process lives.

    The operating system holds the lock, so that one of a killed process is free again. Other
    machines see it where the file system supports `flock` (local disks, NFS, Lustre mounted with
    `flock`); where it doesn't, the file itself is the lock.

    Args:
        folder: need not exist before `take`.
        seconds: to wait for a lock.
    """

    SECONDS = 15.0
    """To wait: data workers of a killed run notice it after some seconds, and hold its lock."""

    def __init__(self, folder: str | Path, seconds: float | None = None) -> None:
        self._folder = Path(folder)
        self._file = self._folder / LOCK_FILE
        self._lock = FileLock(self._file, timeout=self.SECONDS if seconds is None else seconds)

    def take(self) -> None:
        """Create the folder if necessary, and lock it, unless this has been done.

        Raises:
            UserError: another run has the folder, or it can't be written to.
        """
        if self._lock.is_locked:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise UserError(
                f"another run is writing to {self._folder} ({self._owner()}); wait until it ends, "
                "stop it, or give another --output_dir"
            ) from None
        except OSError as error:
            raise UserError(
                f"the output folder {self._folder} can't be written to ({error.strerror}); give "
                "another --output_dir"
            ) from error
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        owner = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        with suppress(OSError):  # Windows keeps even its owner from a locked file
            self._file.write_text(owner, encoding="utf-8")

    def _owner(self) -> str:
        try:
            return self._file.read_text(encoding="utf-8").strip() or "unknown process"
        except OSError:
            return "unknown process"

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock.is_locked:
            with suppress(OSError):  # as above
                self._file.unlink()
            self._lock.release()
