"""Of several processes that fail the same way, one reports it."""

import os
from pathlib import Path


def is_first_to_fail() -> bool:
    """Whether no other process of this launch, on this machine, has ended with an error before.

    torchelastic names each process a file for its error, in folders side by side; only one
    process can make the file beside these.
    """
    own_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not own_file:
        return True
    try:
        Path(own_file).parents[1].joinpath("reported").touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # the launcher is gone, and its folder with it
        return True
    return True
