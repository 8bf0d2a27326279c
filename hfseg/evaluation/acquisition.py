"""Which images are worth a label: the model is unsure of them, and they are unlike the others.

In two steps, as in Yang et al., "Suggestive Annotation", MICCAI 2017,
https://arxiv.org/abs/1706.04737: the most uncertain images are the candidates, and of these a
diverse set is chosen, here by the greedy k-center of Sener & Savarese, "Active Learning for
Convolutional Neural Networks: A Core-Set Approach", ICLR 2018, https://arxiv.org/abs/1708.00489.
"""

import math
from dataclasses import dataclass

import numpy as np

UNCERTAINTIES = ("entropy", "margin")


@dataclass(frozen=True)
class Ranked:
    """An image and why it has its place.

    Attributes:
        index: of the image.
        distance: of its features to the nearest image that is labeled or ranked before it; infinite
            for the first one without labeled images, NaN behind the chosen ones.
    """

    index: int
    distance: float


def uncertainty(probabilities: np.ndarray, kind: str = "entropy") -> float:
    """Mean over the pixels, 0 (sure) to 1 (all classes equally likely).

    Args:
        probabilities: (C, H, W) float32.
        kind: `entropy`, as a fraction of its largest value; or `margin`, 1 less the distance of the
            two most likely classes.
    """
    classes = len(probabilities)
    if classes < 2:
        return 0.0
    if kind == "margin":
        second, first = np.partition(probabilities, classes - 2, axis=0)[-2:]
        return float(1 - (first - second).mean(dtype=np.float64))
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return float(-(probabilities * logs).sum(0).mean(dtype=np.float64) / math.log(classes))


def rank(
    uncertainties: np.ndarray,
    features: np.ndarray | None,
    budget: int,
    candidates: float,
    labeled: np.ndarray | None = None,
) -> list[Ranked]:
    """All images, those to label first: `budget` chosen ones, then the others by uncertainty.

    Args:
        uncertainties: (N,).
        features: (N, D) of unit length; None: by uncertainty alone.
        budget: how many are chosen.
        candidates: they are chosen among this many times the budget, the most uncertain ones.
        labeled: (M, D) of the labeled images.
    """
    order = np.argsort(-uncertainties, kind="stable")
    if features is None:
        return [Ranked(int(index), math.nan) for index in order]
    pool = order[: max(budget, math.ceil(budget * candidates))]
    chosen = k_center(features[pool], min(budget, len(pool)), labeled)
    ranked = [Ranked(int(pool[place]), distance) for place, distance in chosen]
    taken = {each.index for each in ranked}
    return ranked + [Ranked(int(index), math.nan) for index in order if index not in taken]


def k_center(
    features: np.ndarray, count: int, labeled: np.ndarray | None = None
) -> list[tuple[int, float]]:
    """Greedily the one that is farthest from all before it; without labeled ones first the first.

    Args:
        features: (N, D).
        count: at most N.
        labeled: (M, D), where it starts from.

    Returns:
        Index and distance at which it was chosen.
    """
    nearest = np.full(len(features), np.inf)
    for center in () if labeled is None else labeled:
        nearest = np.minimum(nearest, np.linalg.norm(features - center, axis=1))
    chosen: list[tuple[int, float]] = []
    left = np.ones(len(features), dtype=bool)
    for _ in range(count):
        index = int(np.where(left, nearest, -1).argmax())
        chosen.append((index, float(nearest[index])))
        left[index] = False
        nearest = np.minimum(nearest, np.linalg.norm(features - features[index], axis=1))
    return chosen
