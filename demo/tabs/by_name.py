"""What SAM 3 finds of classes that it is given by name, beside the model."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.sam.class_prompter import ClassPrompter

from ..colors import is_background, shared_colors
from ..limits import MAX_NAME_LENGTH, MAX_NAMES, MAX_SAM_SIDE, open_photo
from ..sam_work import timed
from ..tab import ON_DEVICE, Tab, figure, photo_answer


class ByName(Tab):
    name, label = "by_name", "By name"

    def settings(self) -> dict[str, Any]:
        names = self.models.labels(None).names
        return {
            "sam3": self.models.has_sam3,
            "names": [name for name in names if not is_background(name)],
        }

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        return {self.by_name: ON_DEVICE}

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
        yield {
            **photo_answer(photo, path, note),
            "figures": [
                figure("The model", found.mask, known, took),
                figure("SAM 3, instances", by_name.instances, asked, took_names),
                figure("SAM 3, semantic", by_name.semantic, asked, took_names),
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
        raise UserError(f"Give at most {MAX_NAMES} names of up to {MAX_NAME_LENGTH} characters.")
    return LabelSet(tuple(dict.fromkeys(name.strip() for name in names)))
