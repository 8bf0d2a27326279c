"""What every script shares: errors as one sentence, and a quiet start."""

import os
import sys
from collections.abc import Callable

from hfseg.errors import UserError


def run_main(main: Callable[[list[str]], None]) -> None:
    """Run `main(argv)` of a script.

    A `UserError` becomes one line on stderr and exit code 2; Ctrl-C becomes exit code 130.
    Every other exception is a defect of ours and keeps its traceback.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
