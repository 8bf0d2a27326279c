"""What SAM 3 finds of classes that it is given by name, for the page."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam.class_prompter import ClassPrompter

from .colors import shared_colors
from .files import save_photo, save_png, stem
from .limits import MAX_NAME_LENGTH, MAX_NAMES, MAX_SAM_SIDE, open_photo
from .sam_work import timed
from .shown_models import ShownModels


class NamingApi:
    """The endpoint; it answers with one JSON object."""

    def __init__(self, models: ShownModels) -> None:
        self.models = models

    def by_name(self, image: gr.FileData, names: list, model: str = "") -> Iterator[dict]:
        """The model, and SAM 3 by both protocols of `hfseg.sam.class_prompter`."""
        path, run = image["path"], self.models.device.run
        known, asked = shared_colors([self.models.labels(model), labels_of(names)])
        photo, note = open_photo(path, MAX_SAM_SIDE)
        yield {"doing": "Loading SAM 3", "part": 0.05}
        sam3 = run(self.models.sam3)
        yield {"doing": "Segmenting with the model", "part": 0.2}
        found, took = self.models.segment(model, path, photo)
        yield {"doing": "SAM 3 is looking for each name", "part": 0.3}
        by_name, took_names = run(timed, lambda: ClassPrompter(*sam3, asked).segment(photo))
        figures = [
            ("The model", found.mask, took, known),
            ("SAM 3, instances", by_name.instances, took_names, asked),
            ("SAM 3, semantic", by_name.semantic, took_names, asked),
        ]
        yield {
            "photo": save_photo(photo, stem(path)),
            "width": photo.width,
            "height": photo.height,
            "note": note,
            "figures": [
                {
                    "title": title,
                    "ids": save_png(np.where(ids < len(of), ids, 255).astype(np.uint8), "ids"),
                    "seconds": seconds,
                    "names": list(of.names),
                    "palette": [list(color) for color in of.palette],
                }
                for title, ids, seconds, of in figures
            ],
        }


def labels_of(names: list[Any]) -> LabelSet:
    """The classes that a visitor asks for.

    Raises:
        UserError: none, too many, or what isn't a name.
    """
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError("Give names of classes, such as: sky, road, car.")
    if len(names) > MAX_NAMES or max(map(len, names)) > MAX_NAME_LENGTH:
        raise UserError(f"Give at most {MAX_NAMES} names of {MAX_NAME_LENGTH} letters.")
    return LabelSet(tuple(dict.fromkeys(name.strip() for name in names)))
