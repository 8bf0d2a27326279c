"""Tab *Evaluate*: an image and its true mask, scored."""

import html
import math
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import LabelSet

from .inputs import ON_DEVICE, PRIVATE, example_scenes, image_input, model_menu
from .limits import MAX_SIDE, open_mask, open_photo, own_size, stem
from .shown_models import ShownModels
from .viewer import percent, plain_figure, row, save_picture, table, viewer, viewers

NOTHING_YET = '<p class="legend-empty">Scores and the error map are shown here.</p>'
HINT = (
    "The true mask has the image's size: a PNG of class ids (255 is not scored), or one in the "
    "model's own colours."
)


def evaluate_tab(models: ShownModels) -> None:
    """Build the tab inside `gr.Blocks`."""
    gr.Markdown(HINT, elem_classes="hint")
    with gr.Row():
        image = image_input("Image", "eval-image", "The image to score", camera=False)
        truth = image_input("True mask", "truth", "The true classes of the image", camera=False)
    model = model_menu(models, "eval-model")
    run = gr.Button("Evaluate", variant="primary", elem_id="evaluate")
    scenes = example_scenes(models, with_truth=True)
    examples = scenes and gr.Dataset(
        components=[image],
        samples=[[picture] for picture, _ in scenes],
        type="index",
        label="Or try a drawn street scene",
    )
    result = gr.HTML(NOTHING_YET, elem_id="eval-result")

    def evaluate(path, truth, model, progress=gr.Progress()):  # noqa: B008
        progress(0.2, desc="The model is at work")
        return models.device.run(evaluated, models, path, truth, model)

    if examples:
        # both of them: gr.Examples would show a table of thumbnails
        examples.click(lambda index: scenes[index], examples, [image, truth], **PRIVATE)
    run.click(evaluate, [image, truth, model], result, **ON_DEVICE, **PRIVATE)


def evaluated(models: ShownModels, path: str | None, truth_path: str | None, model: str) -> str:
    """The scores of one image as HTML. Scored at the mask's own size, as `evaluate_model.py` does.

    Raises:
        UserError: something is missing, not an image, of another size, or not of these classes.
    """
    from hfseg.inference.result import Options
    from hfseg.visualization.overlay import error_map

    if not truth_path:
        raise UserError("Choose the true mask too.")
    segmenter = models.segmenter(model)
    photo, note = open_photo(path)
    truth = read_truth(truth_path, segmenter.labels)
    height, width = truth.shape
    own = own_size(path)
    if (width, height) != own:
        raise UserError(
            f"The image has {own[0]} × {own[1]} pixels, its mask {width} × {height}: "
            "they must be the same."
        )
    found = segmenter.segment(photo, Options(), size=(height, width))
    scores = scored(found.mask, truth, segmenter.labels)
    errors = error_map(found.mask, truth, segmenter.labels)
    if note:
        note += " The scores are of the mask's own size."
    shown = (photo.width, photo.height)
    saved = save_picture(photo, stem(path), photo=True)

    def small(mask: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(mask).resize(shown, Image.Resampling.NEAREST))

    errors.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.NEAREST)
    wrong = 1 - scores["overall_accuracy"]
    figures = [
        viewer("Prediction", saved, small(found.mask), segmenter.labels, legend=False,
               name=f"{stem(path)}_prediction"),
        viewer("Truth", saved, small(truth), segmenter.labels, legend=False,
               name=f"{stem(path)}_truth"),
        plain_figure(
            "Errors",
            save_picture(errors, f"{stem(path)}_errors"),
            f"Error map: {percent(wrong)} of the scored pixels are wrong, shown in red; "
            "pixels that are not scored are hatched",
            f"{percent(wrong)} wrong (red), hatched: not scored",
        ),
    ]  # fmt: skip
    return (
        score_list(scores)
        + viewers(figures, note, least=300)
        + score_table(scores, segmenter.labels)
    )


def read_truth(path: str, labels: LabelSet) -> np.ndarray:
    """(H, W) uint8 ids of an uploaded mask: stored as ids, palette or the model's colours."""
    from hfseg.data.masks import MaskDecoder

    mask = open_mask(path)
    decoder = MaskDecoder.for_labels(labels)
    return decoder.sniff([mask])(mask, "the mask")


def scored(prediction: np.ndarray, truth: np.ndarray, labels: LabelSet) -> dict[str, Any]:
    """`hfseg.metrics.region.region_scores` of one image, and `pixels` of each true class."""
    import torch

    from hfseg.metrics import confusion_matrix
    from hfseg.metrics.region import region_scores

    if not (truth < len(labels)).any():
        raise UserError("The mask has no pixel with a class.")
    counts = confusion_matrix(
        torch.from_numpy(prediction.astype(np.int64)),
        torch.from_numpy(truth.astype(np.int64)),
        len(labels),
        labels.ignore_index,
    ).numpy()
    return {**region_scores(counts), "pixels": counts.sum(1), "predicted": counts.sum(0)}


def score_list(scores: dict[str, Any]) -> str:
    items = (
        ("Mean IoU", scores["mean_iou"]),
        ("Pixel accuracy", scores["overall_accuracy"]),
        ("Mean accuracy", scores["mean_accuracy"]),
    )
    inner = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{100 * value:.1f} %</dd></div>"
        for name, value in items
    )
    return f'<dl class="scores">{inner}</dl>'


def score_table(scores: dict[str, Any], labels: LabelSet) -> str:
    """IoU of every class that occurs, the best first."""
    ious = scores["per_category_iou"]
    known = [index for index in range(len(labels)) if not math.isnan(ious[index])]
    rows = [
        row(labels.palette[index], labels.names[index], ious[index], f"{100 * ious[index]:.1f} %")
        for index in sorted(known, key=lambda index: -ious[index])
    ]
    caption = (
        f"IoU of the {len(known)} of {len(labels)} classes that occur in the mask or in the "
        "prediction; of one image alone, so not the score of a data set"
    )
    return table("IoU", rows, caption)
