"""A page that segments your own images with trained models, beside the Segment Anything family.

    python demo/app.py                                    # the model of `make quickstart`
    python demo/app.py --models runs/pets me/pets-unet    # model folders or Hub ids, side by side
    python demo/app.py --sam facebook/sam2.1-hiera-tiny   # and a SAM, loaded when first asked
    python demo/app.py --share                            # a temporary public link by gradio

The page needs no network: fonts and scripts are served by gradio itself. It is also a web API,
which demo/README.md shows.
"""

import argparse
import html
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.cli import run_main
from hfseg.errors import UserError

if not __package__:  # `python demo/app.py`: its siblings are imported relatively all the same
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    __package__ = "demo"

if TYPE_CHECKING:
    from .guarded_blocks import GuardedBlocks
    from .shown_models import ShownModels

QUICKSTART = "runs/quickstart"


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
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with tempfile.TemporaryDirectory(prefix="hfseg-demo-") as folder:
        # a folder of our own: gradio's default one is shared by all its programs, and served
        os.environ["GRADIO_TEMP_DIR"] = folder

        # its default action would leave the visitors' files behind
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

        from .shown_models import load_models

        app = build_app(load_models(args.models, args.sam))
        try:
            app.launch(
                server_name=args.host,
                server_port=args.port,
                share=args.share,
                **launch_options(app),
            )
        except OSError as error:
            raise UserError(
                f"the page cannot listen on {args.host}:{args.port}, which is taken or not "
                "allowed: choose another --port or --host"
            ) from error


def launch_options(app: "GuardedBlocks") -> dict[str, Any]:
    """What every `launch` of the page shares: looks, limits, and nothing told to a client."""
    import gradio as gr
    from gradio.themes.utils.fonts import LocalFont
    from starlette.middleware import Middleware

    from .bounded_log import bound_the_log
    from .gate import Gate
    from .limits import MAX_UPLOAD
    from .uploads import Uploads

    bound_the_log()
    # A font that comes with gradio; others would be fetched from Google. Of its weights, the
    # SemiBold that themes ask for by default is a file without Latin letters.
    font = LocalFont("Source Sans Pro", weights=(400, 700))
    theme = gr.themes.Default(
        primary_hue="teal", neutral_hue="slate", font=[font, "system-ui", "sans-serif"]
    ).set(
        # white letters on the default teal are too faint to read
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )
    here = Path(__file__).parent
    script = (here / "page.js").read_text(encoding="utf-8")
    return {
        "theme": theme,
        "css_paths": here / "style.css",
        "head": f"<script>{script}</script>",
        "footer_links": [],
        "max_file_size": MAX_UPLOAD,
        "show_error": False,
        "state_session_capacity": 100,
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "app_kwargs": {
            "middleware": [
                Middleware(
                    Gate, endpoints=app.endpoints(), functions=len(app.fns), uploads=Uploads()
                )
            ]
        },
    }


def build_app(models: "ShownModels") -> "GuardedBlocks":
    """The page; start it with `app.launch(**launch_options(app))`."""
    import gradio as gr

    from .about_tab import about_tab
    from .compare_tab import compare_tab
    from .evaluate_tab import evaluate_tab
    from .guarded_blocks import GuardedBlocks
    from .limits import MAX_WAITING
    from .segment_tab import segment_tab
    from .web_api import add_endpoints

    with GuardedBlocks(title="hfseg: semantic segmentation", analytics_enabled=False) as app:
        add_endpoints(models)  # first, so that their names are theirs
        gr.HTML(f"<h1>Semantic segmentation</h1><p>{describe(models)}</p>", elem_classes="intro")
        with gr.Tab("Segment"):
            segment_tab(models)
        with gr.Tab("Compare with SAM"):
            compare_tab(models)
        with gr.Tab("Evaluate"):
            evaluate_tab(models)
        with gr.Tab("About") as about:
            about_tab(models, about)
    # else direct calls would pass the queue
    return app.queue(max_size=MAX_WAITING, api_open=False)


def describe(models: "ShownModels") -> str:
    """One line on the models, for the head of the page, as HTML."""
    if len(models.names) > 1:
        listed = ", ".join(f"<code>{html.escape(name)}</code>" for name in models.names)
        return f"Give every pixel of an image a class. The models: {listed}."
    names = models.segmenter(None).labels.names
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return (
        f"Give every pixel of an image a class. The model "
        f"<code>{html.escape(models.names[0])}</code> knows {len(names)} of them: "
        f"{html.escape(shown)}."
    )


if __name__ == "__main__":
    run_main(main)
