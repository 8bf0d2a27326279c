"""The models of the page: loaded once, shared by all visitors, run one at a time."""

import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any, Unpack

from PIL import Image

from hfseg.errors import UserError
from hfseg.inference import Segmentation, Segmenter
from hfseg.inference.result import PredictionOptions
from hfseg.labels import LabelSet
from hfseg.sam import SamPredictor
from hfseg.sam.class_prompter import load_sam3

from .card import described, read_card
from .colors import shared_colors
from .limits import Device

_ANSWERS_KEPT = 4
_Key = tuple[object, ...]
"""Model, upload, longer side, and options."""


class ShownModels:
    """The models that the page can show.

    Args:
        segmenters: name -> model, in the order of the menu; not empty.
        sam: folder or Hub id of a SAM, loaded on first use, or a predictor.
        sam3: folder or Hub id of a SAM 3, loaded on first use, or model and processor.
        cards: name -> folder or Hub id with the model card.
        device: runs the models.
    """

    def __init__(
        self,
        segmenters: dict[str, Segmenter],
        sam: str | SamPredictor | None = None,
        cards: dict[str, str] | None = None,
        device: Device | None = None,
        sam3: str | tuple[Any, Any] | None = None,
    ) -> None:
        self.segmenters = segmenters
        self.cards = cards or {}
        self.device = device or Device()
        self._sam_source = sam if isinstance(sam, str) else None
        self._sam = None if isinstance(sam, str) else sam
        self._sam3 = sam3
        self._card_pages: dict[str, str] = {}
        self._cards_lock = Lock()
        self._answers: OrderedDict[_Key, tuple[Segmentation, float]] = OrderedDict()
        labels = shared_colors(segmenter.labels for segmenter in segmenters.values())
        self._labels = dict(zip(segmenters, labels, strict=True))

    @property
    def names(self) -> list[str]:
        return list(self.segmenters)

    @property
    def sam_name(self) -> str | None:
        """The name of SAM for visitors: its id, or the last part of its folder."""
        if self._sam_source is None:
            return None if self._sam is None else "SAM"
        folder = Path(self._sam_source)
        return folder.resolve().name if folder.is_absolute() or folder.exists() else str(folder)

    def segmenter(self, name: str | None) -> Segmenter:
        """The model of this name, or the first one without a name.

        Raises:
            UserError: an unknown name; models are never loaded for visitors.
        """
        if not name:
            return next(iter(self.segmenters.values()))
        if name not in self.segmenters:
            raise UserError(f"This page has no such model; choose from {', '.join(self.names)}.")
        return self.segmenters[name]

    def labels(self, name: str | None) -> LabelSet:
        """The classes of a model in the colors of this page, where each class has the same color
        in all models. Errors as of `segmenter`."""
        self.segmenter(name)
        return self._labels[name or self.names[0]]

    def segment(
        self, name: str | None, path: str, image: Image.Image, **options: Unpack[PredictionOptions]
    ) -> tuple[Segmentation, float]:
        """The segmentation and its seconds; the last few are cached.

        Args:
            name: of the model.
            path: of the upload, which identifies the image; empty: not cached.
            image: RGB.
            options: of `Segmenter.__call__`.

        Raises:
            UserError: an unknown model, or a size that it does not support.
        """
        self.segmenter(name)
        key = (name or self.names[0], path, max(image.size), *sorted(options.items()))
        return self.device.run(self._segment, key, image, options)

    def _segment(
        self, key: _Key, image: Image.Image, options: PredictionOptions
    ) -> tuple[Segmentation, float]:
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        start = time.perf_counter()
        try:
            found = self.segmenters[key[0]](image, **options)
        except RuntimeError as error:  # torch: such as smaller than a kernel
            if type(error) is not RuntimeError:
                raise
            raise UserError(
                f"The model can't segment {image.width} × {image.height} pixels: try another size."
            ) from error
        answer = found, time.perf_counter() - start
        if key[1]:
            self._answers[key] = answer
        while len(self._answers) > _ANSWERS_KEPT:
            self._answers.popitem(last=False)
        return answer

    def card(self, name: str | None) -> str:
        """The model card as HTML, rendered once for all visitors."""
        segmenter = self.segmenter(name)
        name = name or self.names[0]
        with self._cards_lock:
            if name not in self._card_pages:
                page = read_card(self.cards.get(name, ""))
                self._card_pages[name] = page or described(name, segmenter)
        return self._card_pages[name]

    def sam(self) -> SamPredictor:
        """The predictor, loaded on first use.

        Raises:
            UserError: the page has no SAM, or it can't be loaded.
        """
        if self._sam is None:
            if self._sam_source is None:
                raise UserError(
                    "This page was started without SAM: restart it with --sam "
                    "facebook/sam2.1-hiera-tiny, or the folder of a SAM."
                )

            self._sam = SamPredictor.from_pretrained(self._sam_source)
        return self._sam

    @property
    def has_sam3(self) -> bool:
        return self._sam3 is not None

    def sam3(self) -> tuple[Any, Any]:
        """Model and processor of SAM 3, loaded at the first call; errors as of `sam`."""
        if self._sam3 is None:
            raise UserError(
                "This page was started without SAM 3: restart it with --sam3 facebook/sam3, or a "
                "folder with its weights."
            )
        if isinstance(self._sam3, str):
            self._sam3 = load_sam3(self._sam3)
        return self._sam3


def load_models(names: list[str], sam: str | None, sam3: str | None = None) -> ShownModels:
    """Load what the command line names.

    Raises:
        UserError: a model does not exist.
    """
    segmenters, cards = {}, {}
    for name in dict.fromkeys(names):
        shown = name
        if Path(name).is_dir():
            shown = Path(name).resolve().name
            if shown in segmenters:
                shown = f"{Path(name).resolve().parent.name}/{shown}"
        segmenters[shown] = Segmenter.from_pretrained(name)
        cards[shown] = name
    return ShownModels(segmenters, sam, cards, sam3=sam3)
