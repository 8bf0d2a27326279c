"""The loss of Mask2Former and EoMT, for semantic labels with ignored pixels.

As in Cheng et al. 2022 (https://arxiv.org/abs/2112.01527, section 3.2 and appendix A): each class
of an image is a mask, queries and masks are matched at the lowest total cost, every query learns
its class or "no object", and every matched query its mask, by cross-entropy and Dice at sampled
points. It differs from transformers' `Mask2FormerLoss` and `EomtLoss` in three ways:

- Points are sampled from labeled pixels, so that ignored pixels have no effect. In transformers
  they are negatives of every mask.
- Sums and counts add up over batches, as in `losses.py`: accumulation steps and processes compute
  the loss of one large batch. In transformers every batch is divided by its own counts.
- The points of an image depend only on its labels and the optimizer step, neither on the order of
  the images nor on how a batch is divided.
"""

import zlib

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from hfseg.errors import UserError
from hfseg.models.universal import Prediction, is_universal
from hfseg.training.losses import SegmentationLoss, mean


class UniversalLoss:
    """The loss of one layer's predictions.

    Args:
        config: of the model, with the weights of the terms and the numbers of points.
        ignore_index: label of the pixels to ignore.

    Attributes:
        evaluation: the loss that evaluation reports.
        step: the optimizer step. Each samples other points: an image that is not augmented would
            otherwise be learned at the same ones for ever.
    """

    def __init__(self, config: PreTrainedConfig, ignore_index: int = 255) -> None:
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
        """(2,) float32: queries, weighted by their targets, and masks."""
        flat = labels.flatten(1)
        present = flat.new_zeros(len(flat), max(self.num_labels, self.ignore_index) + 1)
        present.scatter_(1, flat, 1)
        masks = present[:, : self.num_labels].sum(1).clamp(max=self.config.num_queries).float()
        weights = masks + self.config.no_object_weight * (self.config.num_queries - masks)
        return torch.stack([(weights * (masks > 0)).sum(), masks.sum()])

    def sums(self, prediction: Prediction, labels: torch.Tensor) -> torch.Tensor:
        """(2,): the class term summed over queries, and the mask terms summed over masks.

        An image without labeled pixels is left out.
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

        target_classes = torch.full_like(classes[:, 0], self.num_labels, dtype=torch.long)
        target_classes[queries] = targets[matched]
        weights = classes.new_ones(self.num_labels + 1)
        weights[-1] = config.no_object_weight
        return torch.stack(
            [
                config.class_weight
                * F.cross_entropy(classes, target_classes, weights, reduction="sum"),
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
        # a diverged prediction is matched last instead of ending the run here
        cost = cost.nan_to_num(*[torch.finfo(cost.dtype).max] * 3)
        queries, matched = linear_sum_assignment(cost.cpu().numpy())
        return (
            torch.as_tensor(queries, device=cost.device),
            torch.as_tensor(matched, device=cost.device),
        )


class _Points:
    """The labeled pixels of one image.

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

    Evaluation reports it for universal models: it is deterministic and comparable to the
    cross-entropy of other models.
    """

    def sums(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As `SegmentationLoss.sums`, of (B, C, H, W) scores at the labels' size."""
        return super().sums(logits.clamp_min(torch.finfo(logits.dtype).tiny).log(), labels)


def loss_for(model: PreTrainedModel, loss: SegmentationLoss) -> SegmentationLoss | UniversalLoss:
    """The loss to train the model with: universal models have their own.

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
            raise UserError(f"{name} has its own loss, over queries and masks; leave out {flag}")
    return UniversalLoss(model.config, loss.ignore_index)
