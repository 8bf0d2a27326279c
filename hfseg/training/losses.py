"""Losses over logits at the label's own size, with ignored pixels left out.

A loss is a sum of terms, `ce+0.5*dice`. Every term is a mean over pixels or over images, so it
consists of a sum and a count, which both add up over batches: the loss of an optimizer step does
not depend on how the step is divided into processes and accumulation steps.

- mean over valid pixels, optionally weighted by class: `ce`, `focal`;
- mean over images, each scored separately: `dice`, `jaccard`, `tversky`, `lovasz`, `ohem`.
  Ratios and rankings over a batch would change with its size.

The losses of segmentation_models_pytorch 0.6 differ: its Dice, Jaccard and Tversky sum over the
batch before they divide and count absent classes as correct, its Jaccard can't ignore pixels, its
multi-class focal loss uses C binary sigmoids instead of the softmax, and the shapes in its Lovász
loss depend on the labels.

On a GPU every shape that depends on values makes the host wait for the device. Therefore ignored
pixels are masked, not removed; only `lovasz` reads values back, see `classes_of_each_image`.
"""

import re
from collections.abc import Sequence

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hfseg.errors import UserError
from hfseg.models.logits import resize_logits

FOCAL_GAMMA = 2.0
"""Lin et al. 2017, https://arxiv.org/abs/1708.02002, section 4.1."""
TVERSKY_ALPHA, TVERSKY_BETA = 0.3, 0.7
"""Weights of false positives and false negatives: Salehi et al. 2017, arXiv 1706.05721, table 1."""
OHEM_THRESHOLD, OHEM_MIN_FRACTION = 0.7, 1 / 16
"""Keep pixels whose true class has a lower probability, and at least this fraction of the valid."""

_VALUES_AT_ONCE = 2**26
"""Resized logits held at once: 256 MiB in float32, as of one 512 x 512 image with 256 classes."""

PIXEL_TERMS = ("ce", "focal")
IMAGE_TERMS = ("dice", "jaccard", "tversky", "lovasz", "ohem")


class SegmentationLoss:
    """A weighted sum of losses, as `--loss` names it.

    Args:
        terms: such as `ce`, `dice` or `ce+0.5*dice`.
        ignore_index: label of the pixels to ignore.
        label_smoothing: for `ce`, fraction of the target that is spread over all classes.
        class_weights: one per class, for `ce`, `focal` and `ohem`; the others already weight the
            classes of an image equally.

    Attributes:
        evaluation: the loss that evaluation reports, which is this one.

    Raises:
        UserError: an unknown term.
    """

    def __init__(
        self,
        terms: str = "ce",
        *,
        ignore_index: int = 255,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.terms = parse_terms(terms)
        self.evaluation: SegmentationLoss = self
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.class_weights = (
            None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        )

    def __call__(
        self, logits: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            logits: (B, C, h, w), any float type; resized to the labels.
            labels: (B, H, W) int64.
            counts: `self.counts` of everything the loss is averaged over, if this batch is only
                a part of it.
        """
        return mean(self.sums(logits, labels), self.counts(labels) if counts is None else counts)

    def sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(2,): the terms summed over pixels, and those summed over images.

        Resized logits of a large batch would take gigabytes, several times over. They are made for
        a few images at a time, and again in the backward pass.
        """
        images = max(1, _VALUES_AT_ONCE // (logits.shape[1] * labels[0].numel()))
        if len(labels) <= images:
            return self._sums(logits, labels)
        parts = zip(logits.split(images), labels.split(images), strict=True)
        sums = [
            checkpoint(self._sums, *part, use_reentrant=False, preserve_rng_state=False)
            for part in parts
        ]
        return torch.stack(sums).sum(0)

    def _sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The same, of all images at once."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        height, width = labels.shape[-2:]
        logits = resize_logits(logits, (height, width))
        sums = [logits.new_zeros(()), logits.new_zeros(())]
        for factor, name in self.terms:
            value = getattr(self, f"_{name}")(logits, labels)
            sums[name in IMAGE_TERMS] = sums[name in IMAGE_TERMS] + factor * value
        return torch.stack(sums)

    def counts(self, labels: torch.Tensor) -> torch.Tensor:
        """(2,) float32: valid pixels, weighted by their class, and images with valid pixels."""
        pixels = self._pixel_weights(labels, torch.float32).sum()
        images = (labels != self.ignore_index).flatten(1).any(1).sum()
        return torch.stack([pixels, images.float()])

    def _weights(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor | None:
        if self.class_weights is None:
            return None
        if self.class_weights.device != device:
            # moved once, and not as an inference tensor, which a training step could not use
            with torch.inference_mode(False):
                self.class_weights = self.class_weights.to(device)
        return self.class_weights.to(dtype)

    def _pixel_weights(self, labels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(B, H, W): the weight of each pixel's class, 0 where it is ignored."""
        valid = labels != self.ignore_index
        weights = self._weights(labels.device, dtype)
        if weights is None:
            return valid.to(dtype)
        return weights[labels.where(valid, 0)] * valid

    # ---- sums over pixels ----

    def _ce(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(
            logits,
            labels,
            weight=self._weights(logits.device, logits.dtype),
            ignore_index=self.ignore_index,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )

    def _focal(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(1 - p)^gamma times the cross-entropy, p the probability of the true class."""
        log_p = -F.cross_entropy(logits, labels, ignore_index=self.ignore_index, reduction="none")
        focal = -((1 - log_p.exp()) ** FOCAL_GAMMA) * log_p
        return (focal * self._pixel_weights(labels, logits.dtype)).sum()

    # ---- sums over images ----

    def _tversky_index(
        self, logits: torch.Tensor, labels: torch.Tensor, alpha: float, beta: float
    ) -> torch.Tensor:
        """1 - TP / (TP + alpha FP + beta FN) with soft counts, averaged over an image's classes."""
        valid = labels != self.ignore_index
        true_class = labels.where(valid, 0).flatten(1)
        inside = valid.flatten(1).to(logits.dtype)
        probabilities = logits.softmax(1).flatten(2)
        of_true_class = probabilities.gather(1, true_class[:, None])[:, 0] * inside
        zeros = logits.new_zeros(logits.shape[:2])
        hits = zeros.scatter_add(1, true_class, of_true_class)
        size = zeros.scatter_add(1, true_class, inside)
        predicted = (probabilities * inside[:, None]).sum(2)
        present = size > 0
        index = hits / (hits + alpha * (predicted - hits) + beta * (size - hits)).where(present, 1)
        return ((1 - index) * present).sum(1).div(present.sum(1).clamp(min=1)).sum()

    def _tversky(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._tversky_index(logits, labels, TVERSKY_ALPHA, TVERSKY_BETA)

    def _dice(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Milletari et al. 2016, https://arxiv.org/abs/1606.04797, without squares."""
        return self._tversky_index(logits, labels, 0.5, 0.5)

    def _jaccard(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._tversky_index(logits, labels, 1.0, 1.0)

    def _lovasz(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Lovász-Softmax over an image's classes: Berman et al. 2018, arXiv 1705.08790."""
        total = logits.sum() * 0  # keeps the graph if no image counts
        probabilities = logits.softmax(1).flatten(2)
        labels = labels.flatten(1)
        present = classes_of_each_image(labels, logits.shape[1])
        for image, label, classes in zip(probabilities, labels, present, strict=True):
            valid = label != self.ignore_index
            for index in classes:
                total = total + _lovasz_of_class(image[index], label == index, valid) / len(classes)
        return total

    def _ohem(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy over an image's hard pixels: Shrivastava et al. 2016, arXiv 1604.03540."""
        values = F.cross_entropy(logits, labels, ignore_index=self.ignore_index, reduction="none")
        values = values.flatten(1)
        valid = (labels != self.ignore_index).flatten(1)
        ranked = values.detach().masked_fill(~valid, -1)  # ignored pixels rank last
        at_least = (valid.sum(1) * OHEM_MIN_FRACTION).long().clamp(min=1)
        # sorted, since `topk` would need the number of pixels on the host
        limit = ranked.sort(1, descending=True).values.gather(1, at_least[:, None] - 1)
        hard = (ranked >= limit) | (ranked.neg().exp() < OHEM_THRESHOLD)
        kept = self._pixel_weights(labels, logits.dtype).flatten(1) * hard
        # an image without a valid pixel keeps nothing, and adds 0
        tiny = torch.finfo(kept.dtype).tiny
        return ((values * kept).sum(1) / kept.sum(1).clamp(min=tiny)).sum()


def classes_of_each_image(labels: torch.Tensor, num_labels: int) -> list[list[int]]:
    """The classes that occur in each row of (B, P) labels.

    The host waits for the device here, once per batch. It saves sorting every class in every image:
    of ADE20K's 150 classes an image has about ten.
    """
    occurs = labels.new_zeros(len(labels), num_labels + 1, dtype=torch.bool)
    valid = (labels >= 0) & (labels < num_labels)
    occurs.scatter_(1, labels.where(valid, num_labels), True)
    return [[index for index, found in enumerate(row) if found] for row in occurs[:, :-1].tolist()]


def _lovasz_of_class(
    probability: torch.Tensor, of_class: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """The Lovász extension of one class's Jaccard loss at its errors, algorithm 1 of the paper.

    Args:
        probability: (P,) of the class.
        of_class: (P,) bool, whether the pixel is of the class.
        valid: (P,) bool; the others rank last, with an error of 0, and so add nothing.
    """
    errors = (of_class.to(probability.dtype) - probability).abs()
    order = errors.detach().masked_fill(~valid, -1).argsort(descending=True)
    hits = of_class.gather(0, order).cumsum(0)  # int64: exact for any number of pixels
    size = hits[-1]
    union = size + torch.arange(1, len(hits) + 1, device=hits.device) - hits
    jaccard = 1 - (size - hits).to(errors.dtype) / union
    rise = jaccard.diff(prepend=jaccard.new_zeros(1))
    return (errors * valid).gather(0, order) @ rise


def mean(sums: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The loss, from what `SegmentationLoss.sums` and `.counts` add up to; 0 if nothing counts."""
    return (sums / counts.to(sums.dtype).where(counts > 0, 1)).sum()


def parse_terms(text: str) -> list[tuple[float, str]]:
    """`ce+0.5*dice` -> [(1.0, "ce"), (0.5, "dice")]."""
    known = (*PIXEL_TERMS, *IMAGE_TERMS)
    terms = []
    for part in text.replace(" ", "").split("+"):
        match = re.fullmatch(r"(?:(\d+\.?\d*|\.\d+)\*)?([a-z]+)", part)
        if match is None or match[2] not in known:
            raise UserError(
                f"--loss {text!r}: {part!r} is not a loss; choose from {', '.join(known)}, "
                "or give a sum such as ce+0.5*dice"
            )
        terms.append((float(match[1] or 1), match[2]))
    return terms
