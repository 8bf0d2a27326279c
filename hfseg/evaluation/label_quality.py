"""How likely a label is wrong, judged by a model that was not trained on it.

The score of an image is the softmin of its pixels' self-confidence: Lad & Mueller, "Estimating
label quality and errors in semantic segmentation data via any model", 2023,
https://arxiv.org/abs/2307.05080, the method of cleanlab. Low scores are suspicious.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from hfseg.sam.regions import Region, regions

SOFTMIN_TEMPERATURE = 0.1
"""As in the paper."""
_MIN_AREA = 1e-3
_MIN_DEPTH = 0.004
"""Fraction of the diagonal by which a region's innermost pixel lies inside it. Thin strips along
boundaries are no suspects: there people and models always differ a little."""


@dataclass(frozen=True)
class Suspect:
    """Connected pixels whose label the model contradicts with one class.

    Attributes:
        box: (left, top, right, bottom), right and bottom exclusive.
        given, suggested: ids of the label and of the model's class.
        score: mean self-confidence of its pixels, 0 (surely wrong) to 1.
        pixels: its area.
    """

    box: tuple[int, int, int, int]
    given: int
    suggested: int
    score: float
    pixels: int


@dataclass(frozen=True)
class JudgedImage:
    """What a model that has not seen an image says of its label.

    Attributes:
        name: of its file, unique.
        split: where it comes from.
        index: among all images.
        score: softmin of the self-confidence, 0 (surely wrong) to 1.
        loss: cross-entropy per pixel.
        suspects: the regions, the most suspicious first.
    """

    name: str
    split: str
    index: int
    score: float
    loss: float
    suspects: list[Suspect]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "JudgedImage":
        """Of what `asdict` made, after JSON."""
        found = [Suspect(**{**each, "box": tuple(each["box"])}) for each in values["suspects"]]
        return cls(**{**values, "suspects": found})

    @property
    def stem(self) -> str:
        """Of its files in the output."""
        return f"{self.index:05d}-{Path(self.name).stem}"


def self_confidence(probabilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(H, W) float32: the probability of the given class; NaN where the label is not a class.

    Args:
        probabilities: (C, H, W) float32.
        label: (H, W) uint8.
    """
    labeled = label < len(probabilities)
    ids = np.where(labeled, label, 0)[None].astype(np.int64)
    return np.where(labeled, np.take_along_axis(probabilities, ids, 0)[0], np.nan)


def softmin(scores: np.ndarray, temperature: float = SOFTMIN_TEMPERATURE) -> float:
    """Mean of the scores, weighted by `softmax((1 - scores) / temperature)`; NaN is left out.

    1 where nothing is left: a label without a class can't be wrong.
    """
    scores = scores[~np.isnan(scores)].astype(np.float64)
    if not scores.size:
        return 1.0
    weights = np.exp((scores.min() - scores) / temperature)
    return float((weights * scores).sum() / weights.sum())


def mean_loss(scores: np.ndarray) -> float:
    """Cross-entropy per labeled pixel, the plain score that softmin is compared with."""
    scores = scores[~np.isnan(scores)].astype(np.float64)
    return float(-np.log(scores.clip(1e-12)).mean()) if scores.size else 0.0


def suspects(probabilities: np.ndarray, label: np.ndarray) -> list[Suspect]:
    """The regions where the prediction contradicts the label, the most suspicious first.

    Args:
        probabilities: (C, H, W) float32.
        label: (H, W) uint8.
    """
    classes = len(probabilities)
    confidence = self_confidence(probabilities, label)
    predicted = probabilities.argmax(0)
    # one id for each pair of classes; where they agree there is none
    pairs = np.where(label < classes, label.astype(np.int64) * classes + predicted, classes**2)
    pairs[predicted == label] = classes**2
    depth = max(1.5, _MIN_DEPTH * float(np.hypot(*label.shape)))
    found = [
        _suspect(region, confidence, classes)
        for region in regions(pairs, classes**2, _MIN_AREA)
        if _depth(region) >= depth
    ]
    return sorted(found, key=lambda suspect: (suspect.score, -suspect.pixels))


def _suspect(region: Region, confidence: np.ndarray, classes: int) -> Suspect:
    rows, columns = region.rows, region.columns
    return Suspect(
        (columns.start, rows.start, columns.stop, rows.stop),
        *divmod(region.class_id, classes),
        score=float(confidence[rows, columns][region.pixels].mean()),
        pixels=region.area,
    )


def _depth(region: Region) -> float:
    """How far its innermost pixel is from its edge."""
    return float(distance_transform_edt(np.pad(region.pixels, 1)).max())


def with_suggestions(
    label: np.ndarray, predicted: np.ndarray, found: Iterable[Suspect]
) -> np.ndarray:
    """The label with the model's class in every suspect.

    Args:
        label: (H, W) uint8.
        predicted: (H, W) uint8.
        found: the suspects.
    """
    suggestion = label.copy()
    for suspect in found:
        left, top, right, bottom = suspect.box
        box = np.s_[top:bottom, left:right]
        replaced = (label[box] == suspect.given) & (predicted[box] == suspect.suggested)
        suggestion[box][replaced] = suspect.suggested
    return suggestion
