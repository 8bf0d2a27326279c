"""What the tabs share: a place for an image, a menu of models, examples, and the queue."""

from typing import Any

import gradio as gr
from PIL import Image

from hfseg.labels import LabelSet

from .shown_models import ShownModels
from .viewer import save_picture

PICTURE_HEIGHT = "min(340px, 75vw)"
ON_DEVICE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "device"}
"""For every event that needs a model: one at a time, the others wait in the queue."""
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""For events of the page that are no use to a program."""

EXAMPLES = (3, 18, 33, 52)
"""Scenes of the toyscapes test split."""


def image_input(label: str, elem_id: str, alt_text: str, camera: bool = True) -> gr.Image:
    """A place to drop, paste or take a picture; the event gets the path of the upload."""
    image = gr.Image(
        label=label,
        type="filepath",
        sources=["upload", "webcam", "clipboard"] if camera else ["upload", "clipboard"],
        buttons=["fullscreen"],
        height=PICTURE_HEIGHT,
        placeholder="Drop an image here, or click to choose one",
        alt_text=alt_text,
        elem_id=elem_id,
        elem_classes="picture",
    )
    # gradio would open the file itself, before its size is known and without a word if it fails
    image.preprocess = lambda upload: upload and upload.path
    return image


def model_menu(models: ShownModels, elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(
        models.names,
        value=models.names[0],
        label="Model",
        visible=len(models.names) > 1,
        elem_id=elem_id,
    )


def knows_toyscapes(labels: LabelSet) -> bool:
    """Whether the drawn scenes mean anything to a model."""
    from hfseg.data.toyscapes import LABELS

    return labels.names == LABELS.names


def example_scenes(models: ShownModels, with_truth: bool = False) -> list[list[Any]]:
    """A few test scenes if the first model was trained on toyscapes, nothing otherwise."""
    from hfseg.data.toyscapes import LABELS, draw_scene
    from hfseg.visualization.overlay import index_png

    if not knows_toyscapes(models.segmenter(None).labels):
        return []
    scenes = []
    for index in EXAMPLES:
        image, mask = draw_scene("test", index)
        path = save_picture(Image.fromarray(image), f"scene-{index}")
        scenes.append([path, save_picture(index_png(mask, LABELS), f"scene-{index}_mask")])
    return scenes if with_truth else [[path] for path, _ in scenes]
