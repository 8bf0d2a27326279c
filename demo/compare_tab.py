"""Tab *Compare with SAM*: everything SAM finds beside the model, and objects that are clicked."""

import time
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from hfseg.errors import UserError

from .inputs import ON_DEVICE, PICTURE_HEIGHT, PRIVATE, example_scenes, image_input, model_menu
from .limits import (
    MAX_POINTS_PER_SIDE,
    MAX_SAM_SIDE,
    check_number_of_points,
    open_photo,
    stem,
)
from .shown_models import ShownModels
from .viewer import key, pictures_of_masks, save_picture, seconds, viewer, viewers

ABOUT_SAM = (
    "SAM says which pixels belong together, never what they are. The model says what they are, "
    "with rougher outlines. Here each helps the other."
)
NO_SAM = (
    "**This page runs without SAM.** To add it, start the page with "
    "`--sam facebook/sam2.1-hiera-tiny` (156 MB from the Hugging Face Hub), or with a folder "
    "that holds such a model. The other tabs need nothing more."
)
NOTHING_YET = '<p class="legend-empty">The results are shown here.</p>'
ON, BESIDE = "on the object", "beside it"
AS_MODEL = "as the model sees it"


def compare_tab(models: ShownModels) -> None:
    """Build the tab inside `gr.Blocks`."""
    usable = models.sam_name is not None
    gr.Markdown(ABOUT_SAM if usable else f"{ABOUT_SAM}\n\n{NO_SAM}", elem_classes="hint")
    with gr.Row():
        with gr.Column(scale=2):
            image = image_input("Your image", "sam-image", "The image for SAM and the model")
            model = model_menu(models, "sam-model")
            density = gr.Slider(
                4,
                MAX_POINTS_PER_SIDE,
                value=16,
                step=4,
                label="Points per side of the grid that SAM is asked at",
                info="More points find smaller things and take longer.",
                elem_id="density",
            )
            run = gr.Button("Compare", variant="primary", interactive=usable, elem_id="compare")
            scenes = example_scenes(models)
            if scenes:
                gr.Examples(scenes, image, label="Or try a drawn street scene")
        with gr.Column(scale=3):
            clicked = gr.Image(
                label="Click on an object",
                type="filepath",
                interactive=False,
                buttons=["fullscreen"],
                height=PICTURE_HEIGHT,
                alt_text="The image to click on: the object you mean",
                elem_id="clicked",
            )
            with gr.Row():
                side = gr.Radio([ON, BESIDE], value=ON, label="The next point is", elem_id="side")
                name = gr.Dropdown(
                    [AS_MODEL, *models.segmenter(None).labels.names],
                    value=AS_MODEL,
                    label="The object is",
                    elem_id="object-class",
                )
            with gr.Row():
                undo = gr.Button("Take back a point", size="sm", elem_id="undo")
                clear = gr.Button("Remove all points", size="sm", elem_id="clear")
            with gr.Accordion("Without a mouse: give a point in numbers", open=False):
                with gr.Row():
                    across = gr.Slider(0, 100, value=50, step=1, label="From the left, %")
                    down = gr.Slider(0, 100, value=50, step=1, label="From the top, %")
                add = gr.Button("Add this point", size="sm", interactive=usable, elem_id="add")
    result = gr.HTML(NOTHING_YET, elem_id="sam-result")
    points = gr.State([], time_to_live=3600)

    def compare(path, model, density, progress=gr.Progress()):  # noqa: B008
        return compared(models, path, model, int(density), progress)

    def place(path, model, name, points, point, side):
        kept = [*points, (*point, int(side == ON))]
        check_number_of_points(kept)
        return (*corrected(models, path, model, name, kept), kept)

    def click(path, model, name, points, side, event: gr.SelectData):
        if path is None:
            return gr.skip(), gr.skip(), points
        size = canvas_size(models.device.run(open_photo, path, MAX_SAM_SIDE)[0])
        x, y = ((value + 0.5) / whole for value, whole in zip(event.index, size, strict=True))
        return place(path, model, name, points, (x, y), side)

    def by_numbers(path, model, name, points, side, across, down):
        return place(path, model, name, points, (across / 100, down / 100), side)

    def again(path, model, name, points):
        return corrected(models, path, model, name, points)

    def shown(path):
        return (gr.skip() if path is None else drawn(models, path, [], None)), []

    def classes_of(model):
        names = [AS_MODEL, *models.segmenter(model).labels.names]
        return gr.update(choices=names, value=AS_MODEL)

    run.click(compare, [image, model, density], result, **ON_DEVICE, **PRIVATE)
    image.change(shown, image, [clicked, points], **ON_DEVICE, **PRIVATE)
    image.clear(lambda: (None, NOTHING_YET, []), None, [clicked, result, points], **PRIVATE)
    model.change(classes_of, model, name, **PRIVATE)
    outputs = [clicked, result, points]
    picked = [image, model, name, points, side]
    if usable:
        clicked.select(click, picked, outputs, **ON_DEVICE, **PRIVATE)
        add.click(by_numbers, [*picked, across, down], outputs, **ON_DEVICE, **PRIVATE)
        name.input(again, [image, model, name, points], outputs[:2], **ON_DEVICE, **PRIVATE)
    changed = [image, model, name, points]
    for button, rest in ((undo, lambda points: points[:-1]), (clear, lambda points: [])):
        button.click(rest, points, points, **PRIVATE).then(
            again, changed, outputs[:2], **ON_DEVICE, **PRIVATE
        )


def compared(models: ShownModels, path: str | None, model: str, density: int, progress: Any) -> str:
    """The model, SAM, and the two ways to join them, as figures."""
    from hfseg.sam import refine_by_prompts, refine_by_votes

    run = models.device.run
    photo, note = run(open_photo, path, MAX_SAM_SIDE)
    progress(0.05, desc="SAM is loaded")
    predictor = run(models.sam)
    progress(0.2, desc="The model is at work")
    found, took = run(models.segment, model, path, photo)
    progress(0.3, desc="SAM looks for everything")
    masks, took_everything = run(timed, lambda: everything(predictor, photo, density))
    progress(0.7, desc="Every mask takes a vote")
    voted, took_votes = run(timed, lambda: refine_by_votes(masks, found.mask))
    progress(0.8, desc="SAM is asked for the model's regions")
    prompted, took_prompts = run(
        timed, lambda: refine_by_prompts(predictor, photo, found.mask, found.labels)
    )
    saved = save_picture(photo, stem(path), photo=True)
    numbers, names = pictures_of_masks(masks)
    count = f"{len(masks)} mask{'' if len(masks) == 1 else 's'}"

    def figure(title: str, mask: np.ndarray, caption: str, file: str) -> str:
        return viewer(
            title,
            saved,
            mask,
            found.labels,
            caption=caption,
            name=f"{stem(path)}_{file}",
            legend=False,
        )

    return key([found.mask], found.labels) + viewers(
        [
            figure("The model", found.mask, seconds(took), "model"),
            viewer(
                "SAM, everything: no classes",
                saved,
                numbers,
                names,
                caption=f"{count}, {seconds(took_everything)}",
                name=f"{stem(path)}_sam",
                legend=False,
                kind="masks",
            ),
            figure(
                "SAM's masks, the model's votes",
                voted,
                f"{changed(voted, found.mask)}, + {seconds(took_votes)}",
                "voted",
            ),
            figure(
                "The model's regions, SAM's outlines",
                prompted,
                f"{changed(prompted, found.mask)}, + {seconds(took_prompts)}",
                "prompted",
            ),
        ],
        note,
        least=400,
    )


def everything(predictor: Any, photo: Image.Image, density: int) -> Any:
    if not 1 <= density <= MAX_POINTS_PER_SIDE:
        raise UserError(f"Points per side go from 1 to {MAX_POINTS_PER_SIDE}.")
    return predictor.segment_everything(photo, points_per_side=density)


def corrected(
    models: ShownModels, path: str | None, model: str, name: str, points: list[Any]
) -> tuple[Any, Any]:
    """The image with the clicked object, and the model's answer with that object in it."""
    if path is None:
        return gr.skip(), gr.skip()
    if not points:
        return drawn(models, path, [], None), NOTHING_YET
    run = models.device.run
    photo, note = run(open_photo, path, MAX_SAM_SIDE)
    found, took = run(models.segment, model, path, photo)
    (mask, score), took_sam = run(timed, lambda: object_at(models, photo, points))
    refined, class_id = with_object(found.mask, mask, found.labels, name)
    saved = save_picture(photo, stem(path), photo=True)
    where = found.labels.names[class_id]
    figures = [
        viewer("The model", saved, found.mask, found.labels, caption=seconds(took), legend=False),
        viewer(
            f"With your object: {where}",
            saved,
            refined,
            found.labels,
            caption=f"{changed(refined, found.mask)}, predicted IoU {score:.2f}, "
            f"SAM {seconds(took_sam)}",
            name=f"{stem(path)}_refined",
            legend=False,
        ),
    ]
    result = key([found.mask, refined], found.labels) + viewers(figures, note, least=400)
    return drawn(models, path, points, mask), result


def object_at(
    models: ShownModels, photo: Image.Image, points: list[Any]
) -> tuple[np.ndarray, float]:
    """SAM's mask at points (x, y as shares of the size, 1 on it or 0 beside it), and its score."""
    at = [(x * photo.width, y * photo.height) for x, y, _ in points]
    found = models.sam().prompt(photo, points=at, point_labels=[label for *_, label in points])
    return found.masks[0], float(found.scores[0])


def with_object(
    mask: np.ndarray, found: np.ndarray, labels: Any, name: str = AS_MODEL
) -> tuple[np.ndarray, int]:
    """The model's mask with one object of SAM: of the class named, or that of most pixels in it.

    By votes no class of the image vanishes (see `hfseg.sam.refine_by_votes`); a class that a
    person names is taken at its word.
    """
    from hfseg.sam import SamMasks, refine_by_votes

    if not found.any():
        raise UserError("SAM finds nothing there: move the point, or add another.")
    if name in labels.names:
        class_id = labels.names.index(name)
        return np.where(found, np.uint8(class_id), mask), class_id
    class_id = int(np.bincount(mask[found]).argmax())
    return refine_by_votes(SamMasks(found[None], np.ones(1, np.float32)), mask), class_id


def drawn(
    models: ShownModels, path: str, points: list[Any], mask: np.ndarray | None
) -> Image.Image:
    """The image with the object lit up and the points on it."""
    photo, _ = models.device.run(open_photo, path, MAX_SAM_SIDE)
    if mask is not None:
        pixels = np.asarray(photo).astype(np.float32)
        pixels[~mask] *= 0.45
        photo = Image.fromarray(pixels.astype(np.uint8))
    photo = photo.resize(canvas_size(photo), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(photo)
    radius = max(3, max(photo.size) // 90)
    for x, y, label in points:
        left, top = x * photo.width, y * photo.height
        box = (left - radius, top - radius, left + radius, top + radius)
        # plus and minus, lest the meaning hang on green and red
        draw.ellipse(box, fill=(20, 140, 60) if label else (200, 40, 40), outline="white", width=2)
        draw.line((left - radius / 2, top, left + radius / 2, top), fill="white", width=2)
        if label:
            draw.line((left, top - radius / 2, left, top + radius / 2), fill="white", width=2)
    return photo


def canvas_size(photo: Image.Image) -> tuple[int, int]:
    """Of the picture to click on: gradio takes a click for a pixel of the picture, and is wrong
    where the page enlarges it; so it is large from the start."""
    factor = MAX_SAM_SIDE / max(photo.size)
    return max(1, round(factor * photo.width)), max(1, round(factor * photo.height))


def changed(refined: np.ndarray, mask: np.ndarray) -> str:
    return f"{100 * np.mean(refined != mask):.1f} % changed"


def timed(work: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start
