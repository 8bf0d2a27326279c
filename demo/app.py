"""A page that segments your own images with trained models and the Segment Anything family.

    python demo/app.py                                    # the model of `make quickstart`
    python demo/app.py --models runs/pets me/pets-unet    # model folders or Hub ids, side by side
    python demo/app.py --sam facebook/sam2.1-hiera-tiny   # and a SAM, loaded on first use
    python demo/app.py --share                            # a temporary public link by gradio

The page needs no network: fonts and scripts are served by gradio itself. It also has a web API,
which demo/README.md shows.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.cli import run
from hfseg.errors import UserError, counted

if TYPE_CHECKING:
    from .guarded_blocks import GuardedBlocks
    from .shown_models import ShownModels

QUICKSTART = "runs/quickstart"
PAGE = Path(__file__).resolve().parent / "page"


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo/app.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=[QUICKSTART],
        metavar="MODEL",
        help=f"model folders or Hub ids (default: {QUICKSTART})",
    )
    parser.add_argument(
        "--sam", metavar="MODEL", help="SAM, SAM 2, SAM-HQ or EdgeTAM: folder or Hub id"
    )
    parser.add_argument(
        "--sam3", metavar="MODEL", help="SAM 3, for classes by name: folder or Hub id"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default: %(default)s)")
    parser.add_argument("--share", action="store_true", help="open a temporary public link")
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    args = parse_args(argv)
    if args.models == [QUICKSTART] and not Path(QUICKSTART, "config.json").is_file():
        raise UserError(
            f"there is no model in {QUICKSTART} yet: train it with `make quickstart`, "
            "or give others with --models"
        )
    from .bounded_memory import bound_the_memory

    bound_the_memory()  # before there are threads
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if "SPACE_ID" in os.environ:  # the visitors' addresses are those that the Hub's proxy names
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")
    with tempfile.TemporaryDirectory(prefix="hfseg-demo-") as folder:
        # our own folder, since all gradio programs share and serve the default one
        os.environ["GRADIO_TEMP_DIR"] = folder

        # the default action would leave the visitors' files behind
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

        from .shown_models import load_models

        app = build_app(load_models(args.models, args.sam, args.sam3))
        try:
            app.launch(
                server_name=args.host,
                server_port=args.port,
                share=args.share,
                **launch_options(app),
            )
        except OSError as error:
            raise UserError(
                f"the page can't listen on {args.host}:{args.port}, which is in use or not "
                "allowed: choose another --port or --host"
            ) from error


def launch_options(app: "GuardedBlocks") -> dict[str, Any]:
    """The options of every `launch` of the page: appearance, limits, and privacy."""
    import gradio as gr
    from gradio.themes.utils.fonts import LocalFont
    from starlette.middleware import Middleware
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    from .bounded_log import bound_the_log
    from .gate import Gate
    from .limits import MAX_UPLOAD
    from .uploads import Uploads

    bound_the_log()
    # A font that comes with gradio; others would be fetched from Google. Of its weights, the
    # SemiBold that themes ask for by default is a file without Latin letters.
    font = LocalFont("Source Sans Pro", weights=(400, 700))
    gate = Middleware(Gate, endpoints=app.endpoints(), functions=len(app.fns), uploads=Uploads())
    return {
        "theme": gr.themes.Default(
            primary_hue="teal", neutral_hue="slate", font=[font, "system-ui", "sans-serif"]
        ),
        # by a link, as gradio drops media queries from the style sheets that it is given
        "head": '<link rel="stylesheet" href="page/style.css">',
        "footer_links": [],
        "max_file_size": MAX_UPLOAD,
        "show_error": False,
        "state_session_capacity": 100,
        "ssr_mode": False,
        # gradio would ask for its own page first, and end after three seconds without an answer
        "_frontend": False,
        "enable_monitoring": False,
        "run_history": False,
        "app_kwargs": {
            "middleware": [gate],
            "routes": [Mount("/page", StaticFiles(directory=PAGE))],
        },
    }


def build_app(models: "ShownModels") -> "GuardedBlocks":
    """The page; start it with `app.launch(**launch_options(app))`."""
    import gradio as gr

    from .endpoints import add_endpoints
    from .examples import example_photos
    from .guarded_blocks import GuardedBlocks
    from .limits import MAX_WAITING
    from .tabs import TABS
    from .web_api import WebApi

    tabs = [tab(models) for tab in TABS]
    settings = {
        "models": models.names,
        "examples": example_photos(models),
        "knows": describe(models),
        "tabs": [{"name": tab.name, "label": tab.label, **tab.settings()} for tab in tabs],
    }
    with GuardedBlocks(title="hfseg: semantic segmentation", analytics_enabled=False) as app:
        gr.HTML(
            (PAGE / "index.html").read_text(encoding="utf-8"),
            # a JSON text is JavaScript too
            js_on_load=f"""import(new URL("page/main.js", document.baseURI).href).then(
                ({{ start }}) => start(element.querySelector(".hfseg"), {json.dumps(settings)}))""",
            padding=False,
        )
        add_endpoints(WebApi(models), tabs)
    # otherwise direct calls would bypass the queue
    return app.queue(max_size=MAX_WAITING, api_open=False)


def describe(models: "ShownModels") -> str:
    """One line on the models, for the head of the page."""
    from .examples import knows_toyscapes

    if len(models.names) > 1:
        return "Classify every pixel of a photo, with several models side by side."
    labels = models.labels(None)
    names = labels.names
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    drawn = " It was trained on drawn street scenes, so expect mistakes on photos."
    return (
        f"Classify every pixel of a photo. {models.names[0]} knows {counted(len(names), 'class')}: "
        f"{shown}." + (drawn if knows_toyscapes(labels) else "")
    )


if __name__ == "__main__":
    run("demo")
