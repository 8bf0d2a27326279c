"""Tab *Segment*: one image, one or several models side by side."""

from typing import Any

import gradio as gr

from .inputs import ON_DEVICE, PRIVATE, example_scenes, image_input
from .limits import open_photo, stem
from .shown_models import ShownModels
from .viewer import save_picture, seconds, viewer, viewers

NOTHING_YET = (
    '<p class="legend-empty">Colours, names and areas of what is found are shown here. '
    "Slide between photo and classes, and point at the image to name what is there.</p>"
)


def segment_tab(models: ShownModels) -> None:
    """Build the tab inside `gr.Blocks`."""
    with gr.Row():
        with gr.Column(scale=2):
            image = image_input("Your image", "image", "The image to segment")
            chosen = gr.CheckboxGroup(
                models.names,
                value=models.names[:1],
                label="Models, side by side",
                visible=len(models.names) > 1,
                elem_id="models",
            )
            run = gr.Button("Segment", variant="primary", elem_id="run")
            scenes = example_scenes(models)
            examples = scenes and gr.Examples(scenes, image, label="Or try a drawn street scene")
        with gr.Column(scale=3):
            opacity = gr.Slider(
                0, 1, value=0.55, step=0.05, label="Opacity of the colours", elem_id="opacity"
            )
            result = gr.HTML(NOTHING_YET, elem_id="result")

    def segment(
        path: str | None,
        names: list[str],
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:
        return segmented(models, path, names, progress)

    events = [run.click]
    if examples:
        events.append(examples.load_input_event.then)
    for event in events:
        event(segment, [image, chosen], result, **ON_DEVICE, **PRIVATE)
    image.clear(lambda: NOTHING_YET, None, result, queue=False, **PRIVATE)
    opacity.change(None, opacity, None, js="value => window.hfsegOpacity(value)", **PRIVATE)


def segmented(models: ShownModels, path: str | None, names: list[str], progress: Any) -> str:
    """The figures of an upload, one for each model."""
    photo, note = models.device.run(open_photo, path)
    saved = save_picture(photo, stem(path), photo=True)
    names = names or models.names[:1]
    figures = []
    for number, name in enumerate(names):
        progress((number, len(names)), desc=f"{name} is at work", unit="models")
        found, took = models.device.run(models.segment, name, path, photo)
        height, width = found.mask.shape
        figures.append(
            viewer(
                name,
                saved,
                found.mask,
                found.labels,
                caption=f"{width} × {height}, {seconds(took)}",
                name=stem(path) if len(names) == 1 else f"{stem(path)}_{name}",
            )
        )
    return viewers(figures, note)
