"""Open the demo: a page to try models on one's own images, and a web API.

hfseg demo
hfseg demo --models runs/voc me/other-model --sam facebook/sam2.1-hiera-tiny
"""

import sys
from importlib import import_module


def main(argv: list[str]) -> None:
    from hfseg.hub.space import demo_folder

    # the modules of the page import each other as they do when app.py is run as a script
    sys.path.insert(0, str(demo_folder()))
    import_module("app").main(argv)
