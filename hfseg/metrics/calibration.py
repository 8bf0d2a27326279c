"""Whether a model is as sure as it is right: calibration error, reliability and temperature.

The confidence of a pixel is the probability of its predicted class. Guo et al., "On Calibration of
Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599.
"""

import numpy as np
import torch

from hfseg.errors import UserError

CALIBRATION_ERROR = "expected_calibration_error"
"""Its key in results."""
BINS = 15
"""As in Guo et al.; bin m holds confidences in ((m - 1) / 15, m / 15]."""
THRESHOLDS = 1000
"""Confidences that are tried as a threshold."""
_UNITS = 2**24
"""In 1: float32 holds every multiple of 2^-24 up to 1."""
_HOTTEST = 20.0
"""Temperatures are searched from one twentieth to this."""


def confidence_counts(
    confidence: torch.Tensor, right: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor:
    """What every measure here is made of; sums of it are the counts of several images.

    Integers, so that a sum doesn't depend on its order: not on the device, nor on how images are
    divided over processes. Nothing is read back from the device.

    Args:
        confidence: (H, W) probability of the predicted class.
        right: (H, W) bool, whether that is the true class.
        counted: (H, W) bool, False for ignored pixels.

    Returns:
        (3, BINS) int64: pixels, pixels that are right, and the sum of the confidences in units of
        2^-24, by bin.
    """
    confidence = confidence.float().nan_to_num(0)
    bins = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1).flatten()
    rows = (counted, counted & right, (confidence * _UNITS).round() * counted)
    zeros = torch.zeros(BINS, dtype=torch.int64, device=confidence.device)
    return torch.stack([zeros.scatter_add(0, bins, row.flatten().long()) for row in rows])


def expected_calibration_error(counts: np.ndarray) -> float:
    """Mean distance of accuracy and confidence over the bins, weighted by their pixels.

    Equation 3 of Guo et al., after Naeini et al., "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", AAAI 2015. NaN where nothing was counted.

    Args:
        counts: (3, BINS) of `confidence_counts`.
    """
    pixels, right, confidence = _bins(counts)
    if not pixels.sum():
        return float("nan")
    return float(np.abs(right - confidence).sum() / pixels.sum())


def reliability(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Of every bin that holds pixels: mean `confidence`, `accuracy`, and `fraction` of the pixels.

    Args:
        counts: (3, BINS) of `confidence_counts`.
    """
    filled = _bins(counts)[:, counts[0] > 0]
    pixels, right, confidence = filled
    return {
        "confidence": confidence / pixels,
        "accuracy": right / pixels,
        "fraction": pixels / pixels.sum(),
    }


def _bins(counts: np.ndarray) -> np.ndarray:
    """(3, BINS) float64: pixels, right ones, and the sum of the confidences."""
    return np.asarray(counts, dtype=np.float64) / np.array([[1], [1], [_UNITS]])


def fit_temperature(log_probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """The T that makes `softmax(log_probabilities / T)` fit the labels best.

    It minimizes the negative log-likelihood (section 4.2 of Guo et al.), which is convex in 1 / T.

    Args:
        log_probabilities: (N, C) float32; logits do as well, they differ by a constant per pixel.
        labels: (N,) int64 in 0..C-1.

    Raises:
        UserError: there are no pixels.
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        raise UserError("the temperature can't be fitted: the split has no labeled pixel")

    def loss(log_temperature: float) -> float:
        scaled = log_probabilities / float(np.exp(log_temperature))
        return float(torch.nn.functional.cross_entropy(scaled, labels))

    widest = float(np.log(_HOTTEST))
    found = minimize_scalar(loss, bounds=(-widest, widest), method="bounded")
    return float(np.exp(found.x))


def threshold_counts(confidence: np.ndarray, right: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(2, THRESHOLDS) int64: pixels, and those that are right, by confidence in thousandths.

    Args:
        confidence: (H, W) float32.
        right, counted: (H, W) bool.
    """
    bins = (confidence[counted] * THRESHOLDS).astype(np.int64).clip(0, THRESHOLDS - 1)
    rows = (bins, bins[right[counted]])
    return np.stack([np.bincount(row, minlength=THRESHOLDS) for row in rows])


def threshold_for(counts: np.ndarray, precision: float) -> float | None:
    """The lowest confidence from which on this fraction of the pixels is right.

    Args:
        counts: sum of `threshold_counts`.

    Returns:
        None if not even the surest pixels are right that often.
    """
    pixels, right = counts[:, ::-1].cumsum(1)[:, ::-1]
    enough = np.flatnonzero((pixels > 0) & (right >= precision * pixels))
    return float(enough[0] / THRESHOLDS) if len(enough) else None
