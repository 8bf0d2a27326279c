"""`Teacher`: one or several models, perhaps with SAM's boundaries, that label images for others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from hfseg.data.image_io import read_ahead
from hfseg.data.samples import EvaluationSamples
from hfseg.errors import UserError
from hfseg.inference.result import Options, Segmentation
from hfseg.inference.segmenter import Segmenter
from hfseg.inference.sliding_window import Size
from hfseg.labels import IGNORE_INDEX, LabelSet
from hfseg.metrics.calibration import THRESHOLDS, threshold_counts, threshold_for
from hfseg.processes import Processes
from hfseg.progress import Progress
from hfseg.sam.class_prompter import ClassPrompter
from hfseg.sam.predictor import SamPredictor
from hfseg.sam.refinement import refine_by_votes


class PromptedClasses:
    """SAM 3 in place of a `Segmenter`: it is asked for the classes by their names.

    Its confidence is a score, and not a probability among the classes, so it can't be averaged.
    """

    def __init__(self, prompter: ClassPrompter, labels: LabelSet) -> None:
        self.prompter = prompter
        self.labels = labels
        self.image_processor = prompter.processor.image_processor

    def segment(
        self,
        image: Image.Image,
        options: Options,
        size: Size | None = None,
        source: str | None = None,
        on_tile: Callable[[], object] | None = None,
    ) -> Segmentation:
        """Where nothing is found and no class is the background, pixels are ignored.

        Raises:
            UserError: options that only a model of these classes can follow.
        """
        if options.probabilities or options.window is not None or options.views is not None:
            raise UserError(
                "--sam3 works on its own: leave out --ensemble, --sam, --tta and --sliding_window"
            )
        found = self.prompter.segment(image)
        mask = np.where(found.semantic < len(self.labels), found.semantic, IGNORE_INDEX)
        return Segmentation(
            mask.astype(np.uint8), self.labels, image, confidence=found.confidence, source=source
        )


class Teacher:
    """Segments as a `Segmenter` does; pixels it is not sure of are ignored.

    Args:
        segmenters: models of the same classes, whose probabilities are averaged, or SAM 3.
        sam: gives the boundaries (`refine_by_votes`), or None.
        min_confidence: pixels with a lower probability of their class become `ignore_index`.

    Raises:
        UserError: models of different classes.
    """

    def __init__(
        self,
        segmenters: Sequence[Segmenter | PromptedClasses],
        sam: SamPredictor | None = None,
        min_confidence: float = 0.0,
    ) -> None:
        self.segmenters = list(segmenters)
        self.sam = sam
        self.min_confidence = min_confidence
        self.labels: LabelSet = self.segmenters[0].labels
        self.image_processor = self.segmenters[0].image_processor
        for other in self.segmenters[1:]:
            if other.labels.names != self.labels.names:
                raise UserError(
                    f"the models have different classes: {', '.join(self.labels.names)}; and "
                    f"{', '.join(other.labels.names)}"
                )

    def segment(
        self,
        image: Image.Image,
        options: Options,
        size: Size | None = None,
        source: str | None = None,
        on_tile: Callable[[], object] | None = None,
    ) -> Segmentation:
        """As `Segmenter.segment`, with confidence, and with unsure pixels ignored."""
        found = self._sure(image, options, size, on_tile)
        assert found.confidence is not None
        mask = found.mask.copy()
        mask[found.confidence < self.min_confidence] = self.labels.ignore_index
        return replace(found, mask=mask, source=source)

    def _sure(
        self,
        image: Image.Image,
        options: Options,
        size: Size | None,
        on_tile: Callable[[], object] | None,
    ) -> Segmentation:
        first, *others = self.segmenters
        if not others and self.sam is None:
            return first.segment(image, replace(options, confidence=True), size, on_tile=on_tile)
        asked = replace(options, probabilities=True)
        found = first.segment(image, asked, size, on_tile=on_tile)
        assert found.probabilities is not None
        mean = found.probabilities / len(self.segmenters)
        for other in others:
            probabilities = other.segment(image, asked, size).probabilities
            assert probabilities is not None
            mean += probabilities / len(self.segmenters)
        mask = mean.argmax(0).astype(np.uint8)
        if self.sam is not None:
            mask = refine_by_votes(self.sam.segment_everything(image), mask)
        confidence = np.take_along_axis(mean, mask[None].astype(np.int64), 0)[0]
        return Segmentation(mask, self.labels, image, confidence=confidence)

    def require_precision(
        self,
        precision: float,
        data: Any,
        table: np.ndarray,
        options: Options,
        processes: Processes | None = None,
    ) -> float:
        """Set `min_confidence` to the lowest with which this fraction of the pixels is right.

        Args:
            precision: over all pixels of the split that keep their class.
            data: a labeled split with the columns `image` and `label`.
            table: predicted id -> dataset id (`prediction_table`).
            options: how to predict.
            processes: they share the split; None: this one alone.

        Returns:
            `min_confidence`.

        Raises:
            UserError: even the most confident pixels are correct less often.
        """
        self.min_confidence = 0.0
        samples = EvaluationSamples(data)
        counts = np.zeros((2, THRESHOLDS), dtype=np.int64)
        indices = processes.share(range(len(samples))) if processes else range(len(samples))
        shown = processes is None or processes.is_first
        with Progress(len(indices), "finding the confidence", shown=shown) as bar:
            for _, read in read_ahead(indices, samples.__getitem__):
                sample = read()
                label = sample["label"]
                found = self.segment(Image.fromarray(sample["image"]), options, label.shape)
                assert found.confidence is not None
                right = table[found.mask] == label
                counted = label != self.labels.ignore_index
                counts += threshold_counts(found.confidence, right, counted)
                bar.update()
        if processes is not None:
            counts = np.sum(processes.gathered(counts), axis=0)
        threshold = threshold_for(counts, precision)
        if threshold is None:
            raise UserError(
                f"--precision {precision}: even the most confident pixels of the split are "
                "correct less often than that; give a lower precision, or a better model"
            )
        self.min_confidence = threshold
        return threshold
