"""Open the demo: a page to try models on your own images, with a web API.

hfseg demo
hfseg demo --models runs/voc me/other-model --sam facebook/sam2.1-hiera-tiny
"""

import sys
from importlib import import_module
from pathlib import Path

import hfseg
from hfseg.demo_files import demo_folder


def main(argv: list[str]) -> None:
    folder = demo_folder()
    if folder.parent == Path(hfseg.__file__).parent:  # installed
        import_module("hfseg.demo.app").main(argv)
    else:  # a clone
        sys.path.insert(0, str(folder.parent))
        import_module("demo.app").main(argv)
