"""The endpoints of the page itself: models, SAM's objects, and cards. `page/` calls them."""

from collections.abc import Iterator

import gradio as gr
import numpy as np
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam import refine_by_prompts, refine_by_votes
from hfseg.visualization.overlay import index_png

from .files import save_photo, save_png, stem
from .limits import MAX_SAM_SIDE, MAX_SIDE, check_number_of_points, open_photo
from .sam_work import everything, object_at, pictures_of_masks, timed
from .shown_models import ShownModels

TTA = "flip,0.75,1.0,1.25"
WINDOW = 512
MAX_OBJECTS = 30
_CONFIDENCE_VALUES = 2**27
"""Classes times pixels up to which confidence is computed; above, its memory would be too much."""


class PageApi:
    """The endpoints; each answers with one JSON object."""

    def __init__(self, models: ShownModels) -> None:
        self.models = models

    def view(
        self,
        image: gr.FileData,
        model: str = "",
        tta: bool = False,
        sliding: bool = False,
        for_sam: bool = False,
    ) -> dict:
        """The predicted classes of a photo and their confidence, as images of values."""
        path = image["path"]
        photo, note = open_photo(path, MAX_SAM_SIDE if for_sam else MAX_SIDE)
        labels = self.models.labels(model)
        values = len(labels) * photo.width * photo.height
        options = {
            "tta": TTA if tta else None,
            "sliding_window": WINDOW if sliding else None,
            "return_confidence": values <= _CONFIDENCE_VALUES,
        }
        found, took = self.models.segment(model, path, photo, **options)
        answer = {
            **self._photo(photo, path, note),
            "model": model or self.models.names[0],
            "seconds": took,
            "names": list(labels.names),
            "palette": [list(color) for color in labels.palette],
            "ids": save_png(found.mask, "ids"),
            "mask": self._mask(found.mask, model, stem(path)),
            "confidence": None,
        }
        if found.confidence is not None:
            sureness = np.rint(255 * found.confidence).astype(np.uint8)
            answer["confidence"] = save_png(sureness, "confidence")
        return answer

    def objects(self, image: gr.FileData, objects: list) -> dict:
        """SAM's mask of each object, which is a list of points (x, y, 1 on it or 0 beside it), x
        and y being fractions of the photo's size."""
        if len(objects) > MAX_OBJECTS:
            raise UserError(
                f"There are {len(objects)} objects, but only {MAX_OBJECTS} are allowed."
            )
        for points in objects:
            check_fractions(points)
        photo, _ = open_photo(image["path"], MAX_SAM_SIDE)
        found = []
        for points in objects:
            mask, score = self.models.device.run(object_at, self.models, photo, points)
            found.append({"mask": save_png(mask.astype(np.uint8), "object"), "score": score})
        return {"objects": found}

    def everything(
        self, image: gr.FileData, model: str = "", points_per_side: int = 16
    ) -> Iterator[dict]:
        """The model, SAM, and two methods that combine them."""
        run, path = self.models.device.run, image["path"]
        photo, note = open_photo(path, MAX_SAM_SIDE)
        yield {"doing": "Loading SAM", "part": 0.05}
        predictor = run(self.models.sam)
        yield {"doing": "Segmenting with the model", "part": 0.15}
        found, took = self.models.segment(model, path, photo)
        yield {"doing": "SAM is segmenting everything", "part": 0.25}
        masks, took_all = run(timed, lambda: everything(predictor, photo, points_per_side))
        yield {"doing": "Each mask gets a class by vote", "part": 0.7}
        voted, took_votes = run(timed, lambda: refine_by_votes(masks, found.mask))
        yield {"doing": "SAM refines the model's regions", "part": 0.8}
        prompted, took_prompts = run(
            timed, lambda: refine_by_prompts(predictor, photo, found.mask, found.labels)
        )
        numbers, names = pictures_of_masks(masks)
        labels = self.models.labels(model)
        count = f"{len(masks)} mask{'' if len(masks) == 1 else 's'}"

        def figure(
            title: str, ids: np.ndarray, caption: str, took: float, of: LabelSet = labels
        ) -> dict:
            return {
                "title": title,
                "ids": save_png(ids, "ids"),
                "caption": caption,
                "seconds": took,
                "names": list(of.names),
                "palette": [list(color) for color in of.palette],
            }

        yield {
            **self._photo(photo, path, note),
            "figures": [
                figure("The model", found.mask, model or self.models.names[0], took),
                figure("SAM, everything: no classes", numbers, count, took_all, names),
                figure("SAM's masks, the model's votes", voted, changed(voted, found.mask),
                       took_votes),
                figure("The model's regions, SAM's boundaries", prompted,
                       changed(prompted, found.mask), took_prompts),
            ],
        }  # fmt: skip

    def card(self, model: str = "") -> dict:
        """The model card as HTML (see card.py)."""
        return {"html": self.models.card(model)}

    def _photo(self, photo: Image.Image, path: str, note: str) -> dict[str, object]:
        saved = save_photo(photo, stem(path))
        return {"photo": saved, "width": photo.width, "height": photo.height, "note": note}

    def _mask(self, mask: np.ndarray, model: str, name: str) -> str:
        return save_png(index_png(mask, self.models.segmenter(model).labels), f"{name}_mask")


def check_fractions(points: object) -> None:
    """Raise a UserError unless these are points (x, y, 1 or 0), one of them on the object."""
    if not isinstance(points, list) or not points:
        raise UserError("An object must be a list of points.")
    check_number_of_points(points)
    for point in points:
        if (
            not isinstance(point, list)
            or len(point) != 3
            or any(type(value) not in (int, float) for value in point)
            or not (0 <= point[0] <= 1 and 0 <= point[1] <= 1 and point[2] in (0, 1))
        ):
            raise UserError(
                "A point must be [x, y, label], with x and y from 0 to 1, and label 1 on the "
                "object or 0 outside."
            )
    if not any(point[2] for point in points):
        raise UserError("At least one point must be on the object: [x, y, 1].")


def changed(refined: np.ndarray, mask: np.ndarray) -> str:
    return f"{100 * np.mean(refined != mask):.1f} % changed"
