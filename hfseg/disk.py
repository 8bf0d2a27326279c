"""Files that are written completely or not at all, and disks that are full."""

import errno
import os
import re
from pathlib import Path

from hfseg.errors import causes

_FULL = {
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up",
    errno.ENOSPC: "the disk is full",  # after the quota, which Windows does not have
    errno.EFBIG: "the file is larger than the limit of this system (ulimit -f)",
    errno.EROFS: "the file system is read-only",
}
# safetensors is written in Rust, which names the error by its number, torch.save by its own check
_OS_ERROR = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
_TORCH_WRITE = re.compile(r"PytorchStreamWriter|inline_container|basic_ios|iostream")


def write_text(file: Path, text: str) -> None:
    """Replace a file; a process that is killed, or a full disk, leaves the old one as it was."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def explain_disk_error(error: BaseException) -> str | None:
    """Why nothing could be written, without a period, or None if that is not what happened.

    Libraries wrap the error of the operating system in their own, so its causes are examined too.
    """
    for cause in causes(error):
        number = cause.errno if isinstance(cause, OSError) else _number_in(cause)
        if number in _FULL:
            return _FULL[number]
        if isinstance(cause, RuntimeError) and _TORCH_WRITE.search(str(cause)):
            return "the disk is full or faulty"
    return None


def _number_in(error: BaseException) -> int | None:
    found = _OS_ERROR.search(str(error))
    return int(found[1] or found[2]) if found else None
