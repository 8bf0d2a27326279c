"""The classes of a photo."""

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
import numpy as np

from hfseg.visualization.overlay import index_png

from ..files import save_png, stem
from ..limits import MAX_SAM_SIDE, MAX_SIDE, open_photo
from ..tab import ON_DEVICE, Tab, photo_answer

TTA = "flip,0.75,1.0,1.25"
WINDOW = 512
_CONFIDENCE_VALUES = 2**27
"""Classes times pixels up to which confidence is computed; above, its memory would be too much."""


class Segment(Tab):
    name, label = "segment", "Segment"

    def endpoints(self) -> dict[Callable[..., Any], Mapping[str, Any]]:
        return {self.view: ON_DEVICE}

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
        mask = index_png(found.mask, self.models.segmenter(model).labels)
        answer = {
            **photo_answer(photo, path, note),
            "model": model or self.models.names[0],
            "seconds": took,
            "names": list(labels.names),
            "palette": [list(color) for color in labels.palette],
            "ids": save_png(found.mask, "ids"),
            "mask": save_png(mask, f"{stem(path)}_mask"),
            "confidence": None,
        }
        if found.confidence is not None:
            sureness = np.rint(255 * found.confidence).astype(np.uint8)
            answer["confidence"] = save_png(sureness, "confidence")
        return answer
