"""Confidence intervals of the mean IoU, and of the difference between two models.

An IoU is a ratio of sums over the images, so the mean IoU is linearized: image i moves it by
the mean over the classes c of (hits_ic - IoU_c union_ic) / union_c. The variance of the sum of
these terms has two small-sample corrections, since a class may occur in a few images only. Each
term is divided by the root of 1 - leverage (HC2; the leverage is the image's fraction of the
class's union), and the quantile is Student's t with the degrees of freedom of Bell & McCaffrey,
"Bias reduction in standard errors for linear regression with multi-stage samples", Survey
Methodology 28, 2002.

`hfseg.metrics.interval_coverage` simulates the coverage; docs/evaluation-intervals.md has the
table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfseg.data.units import IMAGES, Units
from hfseg.metrics.table import iou, mean_over_classes

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % confidence interval.

    Attributes:
        value: the estimate; NaN where nothing is labeled.
        bounds: low and high; None where no interval can be given.
        note: what was taken as independent, or why there is no interval.
        p_value: two-sided, of the value being 0; for differences.
    """

    value: float
    bounds: tuple[float, float] | None
    note: str
    p_value: float | None = None

    def as_results(self, key: str = "mean_iou") -> dict[str, list[float] | str | None]:
        """The entries of results.json: `KEY_interval_95` and `KEY_interval_note`."""
        bounds = None if self.bounds is None else list(self.bounds)
        return {f"{key}_interval_95": bounds, f"{key}_interval_note": self.note}


def interval_text(results: Mapping[str, Any], key: str) -> str:
    """What `as_results` stored, in words: `0.7123 to 0.7401 (80 images taken as independent)`."""
    bounds, note = (results.get(f"{key}_interval_{part}") for part in ("95", "note"))
    if not bounds:
        return note or ""
    return "{:.4f} to {:.4f}".format(*bounds) + (f" ({note})" if note else "")


def mean_iou_interval(
    per_image: Mapping[int, np.ndarray], names: Sequence[str], units: Units = IMAGES
) -> Interval:
    """95 % interval of the mean IoU over the classes that occur.

    Args:
        per_image: sample index -> (3, K) int64 from `region_counts`.
        names: of the K classes, for the note.
        units: what is independent.

    Returns:
        Without bounds if a class occurs in a single unit: its spread is unknown then.
    """
    return _interval([per_image], names, units, lowest=0.0)


def mean_iou_difference(
    first: Mapping[int, np.ndarray],
    second: Mapping[int, np.ndarray],
    names: Sequence[str],
    units: Units = IMAGES,
) -> Interval:
    """Mean IoU of the second model minus that of the first, paired over the images in common.

    Arguments as `mean_iou_interval`. Images that are hard for both models cancel out, so the
    interval is narrower than those of the two scores suggest.
    """
    common = first.keys() & second.keys()
    pair = [{index: counts[index] for index in common} for counts in (second, first)]
    return _interval(pair, names, units, lowest=-1.0)


def _interval(
    models: Sequence[Mapping[int, np.ndarray]], names: Sequence[str], units: Units, lowest: float
) -> Interval:
    """Of one model's mean IoU, or of the first one's minus the second one's."""
    from scipy import stats

    if not models[0]:
        return Interval(float("nan"), None, "none, because there are no images")
    parts = [_linearized(_unit_counts(per_image, units)) for per_image in models]
    value = float(parts[0].mean_iou - sum(part.mean_iou for part in parts[1:]))
    number = len(parts[0].terms)
    if np.isnan(value):
        return Interval(value, None, "none, because no pixel is labeled")
    if number < 2:
        return Interval(value, None, f"none, because there is only {units.counted(number)}")
    single = np.any([part.in_one_unit for part in parts], axis=0)
    if single.any():
        listed = ", ".join(repr(names[index]) for index in np.flatnonzero(single).tolist())
        are = "is" if single.sum() == 1 else "are each"
        return Interval(value, None, f"none, because {listed} {are} in only one {units.one}")

    terms = parts[0].terms - sum(part.terms for part in parts[1:])
    leverages = np.mean([part.leverages for part in parts], axis=0)
    error = float(np.sqrt((terms.sum(1) ** 2).sum()))
    freedom = _degrees_of_freedom(terms, leverages)
    reach = error * float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    bounds = (max(value - reach, lowest), min(value + reach, 1.0))
    p_value = None
    if len(models) == 2:
        p_value = float(2 * stats.t.sf(abs(value) / error, freedom)) if error else float(value == 0)
    return Interval(value, bounds, f"{units.counted(number)} taken as independent", p_value)


def _unit_counts(per_image: Mapping[int, np.ndarray], units: Units) -> np.ndarray:
    """(N, 3, K) counts of the units, in an order that only the sample indices decide."""
    sums: dict[int, np.ndarray] = {}
    for index in sorted(per_image):
        unit = index if units.of_image is None else units.of_image[index]
        sums[unit] = sums[unit] + per_image[index] if unit in sums else per_image[index]
    return np.stack([sums[unit] for unit in sorted(sums)])


@dataclass(frozen=True)
class _Linearized:
    mean_iou: float
    terms: np.ndarray  # (N, K): by how much a unit moves the mean through a class, HC2-corrected
    leverages: np.ndarray  # (N, K): a unit's fraction of the class's union
    in_one_unit: np.ndarray  # (K,) bool


def _linearized(counts: np.ndarray) -> _Linearized:
    """(N, 3, K) counts of independent units."""
    hits, truth, predicted = np.moveaxis(counts.astype(np.float64), 1, 0)
    unions = truth + predicted - hits
    union = unions.sum(0)
    occurs = union > 0
    divisor = np.where(occurs, union, 1)
    ious = iou(counts.sum(0))
    leverages = unions / divisor
    in_one_unit = occurs & ((unions > 0).sum(0) == 1)
    room = np.where(in_one_unit, 1, np.sqrt(1 - leverages))
    terms = (hits - np.nan_to_num(ious) * unions) / (divisor * room * max(occurs.sum(), 1))
    return _Linearized(float(mean_over_classes(ious)), terms, leverages, in_one_unit)


def _degrees_of_freedom(terms: np.ndarray, leverages: np.ndarray) -> float:
    """Satterthwaite's, if the classes are independent and variances grow with the union.

    The smaller of two: with the classes' measured variances, and with those that classes of
    equal spread would have. Two images of a rare class may agree by chance, and the first alone
    would then take its variance for small.
    """
    measured = (terms**2).sum(0)
    expected = (leverages**2).sum(0) * (measured > 0)
    if not measured.any():
        return 1.0
    freedom = min(_satterthwaite(variances, leverages) for variances in (measured, expected))
    return float(np.clip(freedom, 1, len(terms) - 1))


def _satterthwaite(variances: np.ndarray, leverages: np.ndarray) -> float:
    """trace(G)^2 / trace(G^2) of the covariance G of the units' terms.

    A class with variance v and leverages l adds v l_i to the diagonal and
    -v l_i l_j / sqrt((1 - l_i) (1 - l_j)) off it.
    """
    diagonal = leverages @ variances
    # a leverage of 1 comes with a variance of 0
    scaled = np.sqrt(variances) * leverages / np.sqrt(np.maximum(1 - leverages, 1e-12))
    gram = scaled.T @ scaled
    off_diagonal = (gram**2).sum() - ((scaled**2).sum(1) ** 2).sum()
    return variances.sum() ** 2 / ((diagonal**2).sum() + off_diagonal)
