"""Where the demo page lies; imports nothing heavy, so that its help comes at once."""

from pathlib import Path

import hfseg
from hfseg.errors import UserError


def demo_folder() -> Path:
    """The page's files: inside the installed package, or beside it in a clone."""
    package = Path(hfseg.__file__).parent
    for folder in (package / "demo", package.parent / "demo"):
        if (folder / "app.py").is_file():
            return folder
    raise UserError(f"the demo's files are missing from {package}: reinstall hfseg")
