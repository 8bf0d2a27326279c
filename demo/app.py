"""A page that segments your own images with a trained model.

    python demo/app.py                                   # the model of `make quickstart`
    python demo/app.py --model runs/pets --port 8000     # any model folder or Hub id
    python demo/app.py --share                           # a temporary public link by gradio

The page needs no network: fonts and scripts are served by gradio itself.
"""

import argparse
import html
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.cli import run_main
from hfseg.errors import UserError

if TYPE_CHECKING:
    import gradio as gr

    from hfseg.inference import Segmentation, Segmenter
    from hfseg.labels import LabelSet

QUICKSTART = "runs/quickstart"

# A larger upload is scaled down to this before the model sees it, so that a phone photo takes
# seconds on a CPU and one visitor cannot use up the memory.
MAX_SIDE = 1536
PICTURE_HEIGHT = "min(380px, 75vw)"
MAX_UPLOAD = "25mb"

EXAMPLES = (3, 18, 33, 52)
"""Scenes of the toyscapes test split that are shown as examples."""

RESULT_ALT = "The image under its coloured class mask"
NOTHING_YET = '<p class="legend-empty">The classes found in the image are listed here.</p>'


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo/app.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", default=QUICKSTART, help="model folder or Hub id (default: %(default)s)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default: %(default)s)")
    parser.add_argument("--share", action="store_true", help="open a temporary public link")
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    args = parse_args(argv)
    if args.model == QUICKSTART and not Path(QUICKSTART, "config.json").is_file():
        raise UserError(
            f"there is no model in {QUICKSTART} yet: train it with `make quickstart`, "
            "or give another one with --model"
        )
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    from hfseg.inference import Segmenter

    app = build_app(Segmenter.from_pretrained(args.model))
    try:
        app.launch(
            server_name=args.host, server_port=args.port, share=args.share, **launch_options()
        )
    except OSError as error:
        raise UserError(
            f"the page cannot listen on {args.host}:{args.port}, which is taken or not allowed: "
            "choose another --port or --host"
        ) from error


def launch_options() -> dict[str, Any]:
    """What every `launch` of the page shares: looks, limits, and nothing told to a client."""
    import gradio as gr
    from gradio.themes.utils.fonts import LocalFont

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
    return {
        "theme": theme,
        "css_paths": Path(__file__).with_name("style.css"),
        "footer_links": [],
        "max_file_size": MAX_UPLOAD,
        "show_error": False,
        "state_session_capacity": 100,
        "ssr_mode": False,
    }


def build_app(segmenter: "Segmenter") -> "gr.Blocks":
    """The page for one model; start it with `app.launch(**launch_options())`."""
    import gradio as gr

    with gr.Blocks(
        title="hfseg: semantic segmentation",
        analytics_enabled=False,
        delete_cache=(3600, 3600),
    ) as app:
        gr.Markdown(f"# Semantic segmentation\n\n{describe(segmenter)}", elem_classes="intro")
        answer = gr.State(time_to_live=3600)
        with gr.Row():
            with gr.Column():
                image = gr.Image(
                    label="Your image",
                    type="filepath",
                    sources=["upload"],
                    height=PICTURE_HEIGHT,
                    placeholder="Drop an image here, or click to choose one",
                    alt_text="The image to segment",
                    elem_id="image",
                )
                # gradio would open the file itself, and fail without a word if it is no image
                image.preprocess = lambda upload: upload and upload.path
                run = gr.Button("Segment", variant="primary", elem_id="run")
                scenes = example_images(segmenter.labels)
                if scenes:
                    examples = gr.Examples(scenes, image, label="Or try a drawn street scene")
            with gr.Column():
                result = gr.Image(
                    label="Segmentation",
                    format="png",
                    height=PICTURE_HEIGHT,
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    alt_text=RESULT_ALT,
                    elem_id="result",
                )
                opacity = gr.Slider(
                    0, 1, value=0.55, step=0.05, label="Opacity of the colours", elem_id="opacity"
                )
                legend = gr.HTML(NOTHING_YET, elem_id="legend")
                download = gr.DownloadButton(
                    "Download the mask (PNG of class ids)",
                    size="md",
                    interactive=False,
                    elem_id="download",
                )

        def segment(path: str | None, opacity: float) -> tuple[Any, ...]:
            found, note = answer_for(segmenter, path)
            return (
                found,
                gr.update(
                    value=found.overlay(opacity, legend=False), alt_text=describe_areas(found)
                ),
                legend_table(found, note),
                gr.update(value=save_mask(found, path, download.GRADIO_CACHE), interactive=True),
            )

        def redraw(found: "Segmentation | None", opacity: float) -> Any:
            return gr.skip() if found is None else found.overlay(opacity, legend=False)

        def reset() -> tuple[Any, ...]:
            empty = gr.update(value=None, alt_text=RESULT_ALT)
            return None, empty, NOTHING_YET, gr.update(value=None, interactive=False)

        outputs = [answer, result, legend, download]
        # one image at a time: the model fills the device, and others wait in the queue
        shared = {"concurrency_limit": 1, "concurrency_id": "model"}
        run.click(segment, [image, opacity], outputs, api_name="segment", **shared)
        if scenes:
            examples.load_input_event.then(
                segment, [image, opacity], outputs, api_visibility="private", **shared
            )
        image.clear(reset, None, outputs, api_visibility="private", queue=False)
        opacity.change(
            redraw,
            [answer, opacity],
            result,
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
    return app.queue(max_size=32)


def describe(segmenter: "Segmenter") -> str:
    """One line on the model, for the head of the page."""
    name = Path(segmenter.model.name_or_path).name or type(segmenter.model).__name__
    names = segmenter.labels.names
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return (
        f"Give every pixel of an image a class. The model `{name}` knows {len(names)} of them: "
        f"{shown}."
    )


def example_images(labels: "LabelSet") -> list[list[Any]]:
    """A few test scenes if the model was trained on toyscapes, nothing otherwise."""
    from hfseg.data.toyscapes import LABELS, draw_scene

    if labels.names != LABELS.names:
        return []
    return [[draw_scene("test", index)[0]] for index in EXAMPLES]


def answer_for(segmenter: "Segmenter", path: str | None) -> tuple["Segmentation", str]:
    """Segment an upload; what went wrong is told in one sentence.

    Returns:
        The answer and a note for the reader, empty if there is nothing to say.

    Raises:
        gr.Error: no image, a file that is none, or a size that the model cannot take.
    """
    import gradio as gr

    from hfseg.inference.images import to_rgb

    if not path:
        raise gr.Error("Choose an image first.", title="No image", print_exception=False)
    try:
        image = to_rgb(path)
    except UserError:
        raise gr.Error(
            "This file cannot be read as an image: try a PNG or JPEG.",
            title="Not an image",
            print_exception=False,
        ) from None
    note = ""
    if max(image.size) > MAX_SIDE:
        whole = image.size
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        note = f"Scaled from {whole[0]} × {whole[1]} to {image.width} × {image.height} pixels."
    try:
        return segmenter(image), note
    except RuntimeError as error:  # torch: smaller than a kernel, or more than the memory holds
        raise gr.Error(
            f"The model cannot segment {image.width} × {image.height} pixels: try another size.",
            title="Not this size",
        ) from error


def describe_areas(found: "Segmentation") -> str:
    """Alternative text of the result."""
    from hfseg.report.overlay import area_shares

    shares = list(area_shares(found.mask, found.labels).items())[:6]
    parts = [f"{found.labels.names[index]} {percent(share)}" for index, share in shares]
    return f"{RESULT_ALT}: {', '.join(parts)}"


def legend_table(found: "Segmentation", note: str) -> str:
    """The classes that occur with their colours and shares of the area, as an HTML table."""
    from hfseg.report.overlay import area_shares

    shares = area_shares(found.mask, found.labels)
    largest = max(shares.values())
    rows = []
    for index, share in shares.items():
        color = "rgb({}, {}, {})".format(*found.labels.palette[index])
        rows.append(
            f'<tr><td class="swatch"><span style="background: {color}"></span></td>'
            f'<th scope="row">{html.escape(found.labels.names[index])}</th>'
            f'<td class="bar"><span style="background: {color}; '
            f'width: {100 * share / largest:.1f}%"></span></td>'
            f'<td class="share">{percent(share)}</td></tr>'
        )
    height, width = found.mask.shape
    caption = f"{len(shares)} of {len(found.labels)} classes in {width} × {height} pixels. {note}"
    return (
        f'<table class="legend"><caption>{caption.strip()}</caption>'
        '<thead><tr><th class="swatch" aria-label="colour"></th><th>Class</th>'
        '<th class="bar" aria-hidden="true"></th><th class="share">Area</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def percent(share: float) -> str:
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def save_mask(found: "Segmentation", path: str, folder: str) -> str:
    """Write the mask as a palette PNG: the pixel values are class ids, viewers show the colours."""
    from gradio.processing_utils import save_pil_to_cache

    from hfseg.report.overlay import index_png

    mask = index_png(found.mask, found.labels)
    return save_pil_to_cache(mask, cache_dir=folder, name=f"{Path(path).stem}_mask", format="png")


if __name__ == "__main__":
    run_main(main)
