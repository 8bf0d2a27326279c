"""What a comparison with SAM adds up over images, in any order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.sam.measuring import Meter


class SamTally:
    """The measurements of some images (see `SharedWork`).

    Attributes:
        scores: method -> its counts.
        recall: method -> (2,) int64, masks found and masks expected.
        num_masks: sample index -> number of all SAM masks.
        meter: time and memory of the steps.
    """

    def __init__(self, labels: LabelSet, methods: Sequence[str], device: torch.device) -> None:
        self.scores = {method: SplitScores(labels) for method in methods}
        self.recall = {method: np.zeros(2, dtype=np.int64) for method in methods}
        self.num_masks: dict[int, int] = {}
        self.meter = Meter(device)

    def merge(self, other: "SamTally") -> None:
        for method in self.scores:
            self.scores[method].merge(other.scores[method])
            self.recall[method] = self.recall[method] + other.recall[method]
        self.num_masks |= other.num_masks
        self.meter.merge(other.meter)

    def state_dict(self) -> dict[str, Any]:
        return {
            "scores": {method: scores.state_dict() for method, scores in self.scores.items()},
            "recall": {method: counts.tolist() for method, counts in self.recall.items()},
            "num_masks": self.num_masks,
            "seconds": dict(self.meter.seconds),
            "peaks": self.meter.peaks,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for method, scores in self.scores.items():
            scores.load_state_dict(state["scores"][method])
            self.recall[method] = np.array(state["recall"][method], dtype=np.int64)
        self.num_masks = state["num_masks"]
        self.meter.seconds.update(state["seconds"])
        self.meter.peaks = state["peaks"]
