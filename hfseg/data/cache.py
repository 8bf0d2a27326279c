"""The cache folder of `datasets`."""

import atexit
import logging
import shutil
import tempfile
from pathlib import Path

logger = logging.getLogger("hfseg")


def use_writable_cache() -> None:
    """Where the cache folder can't be written, use one that is removed when the process ends."""
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        logger.warning(
            "the cache folder %s can't be written (%s): the data is read again at every start; "
            "set HF_HOME to a folder you can write to",
            folder,
            error.strerror,
        )
    temporary = tempfile.mkdtemp(prefix="hfseg-cache-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    datasets.config.HF_DATASETS_CACHE = Path(temporary)
