"""How nearly two forward passes must agree. Everything else is compared bit for bit.

Exact are states of models, label ids, confusion matrices, files, and whatever two computations
derive from the same tensor. Not exact are the logits of two forward passes, even of equal weights
on one machine: oneDNN and BLAS choose kernels by instruction set, number of threads, batch size and
alignment of the memory (weights mapped from a file lie at any address), and each kernel adds the
products of a layer in its own order.

In whatever order, a sum of n products is off by about sqrt(n) roundings of half an ulp, as the
errors have random signs (Higham, Accuracy and Stability of Numerical Algorithms, 2002, sections 2.8
and 4.2). The longest sums here, 3 x 3 convolutions of 2048 channels, have n = 18432: 2^6 ulps. The
errors of some 100 layers are independent as well, and add up to 10 times that of one: 2^10 ulps.
Measured over the models of these tests (unaligned weights, two threads, channels last, one image at
a time, without oneDNN, in float64): at most 45 ulps of the largest logit.
"""

import numpy as np
import torch

ULPS = 2**10
TOLERANCE = ULPS * 2.0**-23
"""Of logits, relative to the largest one; also the difference allowed between probabilities."""
UNDECIDED = 1e-3
"""Fraction of pixels that may lie within `TOLERANCE` of a tie, and so get either class."""


def assert_same_logits(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Of two forward passes."""
    assert found.dtype == expected.dtype == torch.float32
    largest = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE * largest)


def assert_same_mask(found: object, expected: object, scores: object = None) -> None:
    """Masks of two forward passes: equal, except near ties.

    Args:
        found, expected: (H, W) class ids, or binary masks of any shape.
        scores: (C, H, W) logits or log-probabilities of either pass: pixels are equal wherever the
            two best classes are further apart than the tolerance. Without them all but a fraction
            `UNDECIDED` of the pixels are equal.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    different = found != expected
    if scores is None:
        assert different.mean() <= UNDECIDED, f"{different.sum()} of {different.size} pixels differ"
        return
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=0)
    largest = np.abs(ordered[np.isfinite(ordered)]).max()
    clear = ordered[-1] - ordered[-2] > 2 * TOLERANCE * largest
    assert clear.mean() > 0.9, "too many ties: hardly a pixel is compared"
    assert not different[clear].any(), f"{different[clear].sum()} of {different.size} pixels differ"
