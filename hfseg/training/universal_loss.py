"""The loss of Mask2Former and EoMT, for semantic labels with ignored pixels.

As in Cheng et al. 2022 (https://arxiv.org/abs/2112.01527, section 3.2 and appendix A): each class
of an image is a mask, queries and masks are matched at the lowest cost, and every query learns its
class or "no object", every matched one its mask, by cross-entropy and Dice at sampled points. It
differs from transformers' `Mask2FormerLoss` and `EomtLoss` in three ways:

- Points lie on pixels that have a label, so that ignored pixels teach nothing. There they are
  negatives of every mask.
- Sums and counts add up over batches, as in `losses.py`: accumulation steps and processes compute
  the loss of one large batch. There every batch is divided by its own counts.
- An image's points depend on its labels and the optimizer step alone: not on the order in which
  images are seen, nor on how they are divided.
"""

import zlib
from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from hfseg.errors import UserError
from hfseg.models.universal import Prediction, is_universal
from hfseg.training.losses import SegmentationLoss, mean

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


class UniversalLoss:
    """The loss of one layer's predictions.

    Args:
        config: of the model; its weights of the terms and numbers of points are used.
        ignore_index: the label of pixels that don't count.

    Attributes:
        evaluation: the loss that evaluation reports.
        step: the optimizer step; each has other points, or the rest of an image would never count.
    """

    def __init__(self, config: "PreTrainedConfig", ignore_index: int = 255) -> None:
        self.config = config
        self.step = 0
        self.num_labels = config.num_labels
        self.ignore_index = ignore_index
        self.evaluation = ScoreLoss(ignore_index=ignore_index)

    def __call__(
        self, prediction: Prediction, labels: torch.Tensor, counts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss, a scalar; `counts` as in `SegmentationLoss`.

        Args:
            labels: (B, H, W) int64.
        """
        return mean(
            self.sums(prediction, labels), self.counts(labels) if counts is None else counts
        )

    def counts(self, labels: torch.Tensor) -> torch.Tensor:
        """(2,) float32: queries, each by the weight of what it has to learn, and masks."""
        flat = labels.flatten(1)
        present = flat.new_zeros(len(flat), max(self.num_labels, self.ignore_index) + 1)
        present.scatter_(1, flat, 1)
        masks = present[:, : self.num_labels].sum(1).clamp(max=self.config.num_queries).float()
        weights = masks + self.config.no_object_weight * (self.config.num_queries - masks)
        return torch.stack([(weights * (masks > 0)).sum(), masks.sum()])

    def sums(self, prediction: Prediction, labels: torch.Tensor) -> torch.Tensor:
        """(2,): the class term summed over queries, and the mask terms summed over masks.

        An image without a label that counts is left out.
        """
        classes, masks = prediction.classes.float(), prediction.masks.float()
        sums = torch.stack([classes.sum() * 0, masks.sum() * 0])  # keeps the graph
        for image_classes, image_masks, label in zip(classes, masks, labels, strict=True):
            if (label != self.ignore_index).any():
                sums = sums + self._image_sums(image_classes, image_masks, label)
        return sums

    def _image_sums(
        self, classes: torch.Tensor, masks: torch.Tensor, label: torch.Tensor
    ) -> torch.Tensor:
        """(2,) of one image: (Q, C + 1) and (Q, h, w) logits, (H, W) labels."""
        config = self.config
        points = _Points(label, self.ignore_index, self.step)
        targets = label[label != self.ignore_index].unique()
        count, oversampled = config.train_num_points, config.oversample_ratio
        for_matching, candidates, others = points.draw(
            count,
            int(count * oversampled),
            count - int(config.importance_sample_ratio * count),
        )
        queries, matched = self._match(
            classes.detach(), masks.detach(), targets, points, for_matching
        )
        masks = masks[queries]
        with torch.no_grad():
            uncertainty = -points.sample(masks, candidates).abs()
            hardest = uncertainty.topk(count - len(others), dim=1).indices
            chosen = torch.cat([candidates[hardest], others.expand(len(masks), -1)], 1)
        logits = points.sample(masks, chosen)
        inside = (points.label[chosen] == targets[matched, None]).to(logits.dtype)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, inside, reduction="none")
        probabilities = logits.sigmoid()
        overlap, total = (probabilities * inside).sum(1), (probabilities + inside).sum(1)
        dice = 1 - (2 * overlap + 1) / (total + 1)

        wanted = torch.full_like(classes[:, 0], self.num_labels, dtype=torch.long)
        wanted[queries] = targets[matched]
        weights = classes.new_ones(self.num_labels + 1)
        weights[-1] = config.no_object_weight
        return torch.stack(
            [
                config.class_weight * F.cross_entropy(classes, wanted, weights, reduction="sum"),
                (config.mask_weight * cross_entropy.mean(1) + config.dice_weight * dice).sum(),
            ]
        )

    def _match(
        self,
        classes: torch.Tensor,
        masks: torch.Tensor,
        targets: torch.Tensor,
        points: "_Points",
        chosen: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of the matched queries and of their targets."""
        logits = points.sample(masks, chosen)
        inside = (points.label[chosen] == targets[:, None]).to(logits.dtype)
        cross_entropy = F.softplus(-logits) @ inside.T + F.softplus(logits) @ (1 - inside).T
        probabilities = logits.sigmoid()
        overlap = 2 * probabilities @ inside.T
        dice = 1 - (overlap + 1) / (probabilities.sum(1)[:, None] + inside.sum(1) + 1)
        cost = (
            self.config.mask_weight * cross_entropy / len(chosen)
            + self.config.dice_weight * dice
            - self.config.class_weight * classes.softmax(1)[:, targets]
        )
        # a diverged prediction is matched last, rather than ending the run here
        cost = cost.nan_to_num(*[torch.finfo(cost.dtype).max] * 3)
        queries, matched = linear_sum_assignment(cost.cpu().numpy())
        return tuple(torch.as_tensor(each, device=cost.device) for each in (queries, matched))


class _Points:
    """Pixels of one image that have a label.

    Attributes:
        label: (H * W,) class ids.
    """

    def __init__(self, label: torch.Tensor, ignore_index: int, step: int) -> None:
        self.step = step
        self.size = label.shape
        self.label = label.flatten()
        self.valid = (self.label != ignore_index).nonzero()[:, 0]

    def draw(self, *counts: int) -> list[torch.Tensor]:
        """Indices into `label`, (count,) each, drawn with replacement."""
        seed = zlib.crc32(self.label.to(torch.uint8).cpu().numpy().tobytes(), self.step)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(self.valid), (sum(counts),), generator=generator)
        return list(self.valid[drawn.to(self.valid.device)].split(counts))

    def sample(self, masks: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """(M, h, w) masks at the centers of (P,) or (M, P) pixels: (M, P), bilinear."""
        height, width = self.size
        rows, columns = indices // width, indices % width
        grid = torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], -1) * 2 - 1
        grid = grid.to(masks.dtype)
        if indices.ndim == 1:
            return F.grid_sample(masks[None], grid[None, None], align_corners=False)[0, :, 0]
        return F.grid_sample(masks[:, None], grid[:, None], align_corners=False)[:, 0, 0]


class ScoreLoss(SegmentationLoss):
    """Cross-entropy of the class scores, normalized over the classes: a mean over valid pixels.

    What evaluation reports for universal models: deterministic, and in the units of every other
    model's cross-entropy.
    """

    def sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As `SegmentationLoss.sums`, of (B, C, H, W) scores at the labels' size."""
        return super().sums(logits.clamp_min(torch.finfo(logits.dtype).tiny).log(), labels)


def loss_for(model: "PreTrainedModel", loss: SegmentationLoss) -> SegmentationLoss | UniversalLoss:
    """The loss that trains this model: a universal one has its own.

    Raises:
        UserError: a loss, class weights or label smoothing that a universal model can't use.
    """
    if not is_universal(model):
        return loss
    name = type(model).__name__
    refused = {
        "--loss": loss.terms != [(1.0, "ce")],
        "--class_weights": loss.class_weights is not None,
        "--label_smoothing_factor": loss.label_smoothing != 0,
    }
    for flag, given in refused.items():
        if given:
            raise UserError(
                f"{name} has a loss of its own, over queries and masks: leave {flag} out"
            )
    return UniversalLoss(model.config, loss.ignore_index)
