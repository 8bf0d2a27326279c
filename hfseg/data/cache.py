"""The cache folder of `datasets`."""

import tempfile
from pathlib import Path

from hfseg.errors import UserError


def check_cache() -> None:
    """Check before any work that the cache can be written.

    Raises:
        UserError: the cache folder can't be created or written.
    """
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"the cache folder {folder} can't be written ({error.strerror}); "
            "set HF_HOME to a folder you can write to"
        ) from error
