"""What a tab of the page consists of, and what all tabs answer alike."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from hfseg.labels import LabelSet

from .files import save_photo, save_png, stem
from .shown_models import ShownModels

ON_DEVICE: Mapping[str, Any] = {"concurrency_limit": 1, "concurrency_id": "device"}
"""For an endpoint that runs a model."""
FRAME_BY_FRAME: Mapping[str, Any] = {"concurrency_limit": 2, "concurrency_id": "many"}
"""For one that asks for the device again and again, so that others get it in between."""
BESIDE: Mapping[str, Any] = {"concurrency_limit": 2}
"""For one that needs no device."""


class Tab:
    """The half of a tab that runs on the server; `page/tabs/NAME.js` is the other one."""

    name: ClassVar[str]
    label: ClassVar[str]

    def __init__(self, models: ShownModels) -> None:
        self.models = models

    def settings(self) -> dict[str, Any]:
        """What the script is given; JSON."""
        return {}

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        """The functions that the script calls, and how gradio queues them. Each returns one JSON
        object, or yields several, the last of which is the answer."""
        return {}


def photo_answer(photo: Image.Image, path: str, note: str) -> dict[str, object]:
    """The photo as a model saw it, for an answer."""
    saved = save_photo(photo, stem(path))
    return {"photo": saved, "width": photo.width, "height": photo.height, "note": note}


def figure(
    title: str, ids: np.ndarray, labels: LabelSet, took: float, caption: str = ""
) -> dict[str, object]:
    """A map of ids with its own names and colors, for an answer; 255 is no class."""
    known = np.where(ids < len(labels), ids, 255).astype(np.uint8)
    return {
        "title": title,
        "ids": save_png(known, "ids"),
        "caption": caption,
        "seconds": took,
        "names": list(labels.names),
        "palette": [list(color) for color in labels.palette],
    }
