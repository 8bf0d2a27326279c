"""The universal loss: targets, ignored pixels, counts that add up, and transformers' beside it."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from hfseg.errors import UserError
from hfseg.models.universal import Prediction, class_probabilities
from hfseg.training.losses import SegmentationLoss
from hfseg.training.universal_loss import ScoreLoss, UniversalLoss, loss_for

CLASSES, QUERIES = 4, 6


def config(**options) -> Mask2FormerConfig:
    names = {index: str(index) for index in range(CLASSES)}
    options = {"num_queries": QUERIES, "train_num_points": 256, **options}
    return Mask2FormerConfig(id2label=names, **options)


def batch(seed: int, images: int, ignored: float = 0.3) -> tuple[Prediction, torch.Tensor]:
    """Labels of blocks of 8 pixels, predictions at a quarter of their size."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, CLASSES, (images, 4, 6), generator=generator)
    blocks[torch.rand(blocks.shape, generator=generator) < ignored] = 255
    labels = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    prediction = Prediction(
        torch.randn(images, QUERIES, CLASSES + 1, generator=generator),
        torch.randn(images, QUERIES, 8, 12, generator=generator),
    )
    return prediction, labels


def part(prediction: Prediction, rows: slice) -> Prediction:
    return Prediction(*(each[rows] for each in prediction))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 3))
def test_parts_of_a_batch_add_up_to_the_whole(seed: int, cut: int) -> None:
    prediction, labels = batch(seed, images=4, ignored=0.5)
    loss = UniversalLoss(config())
    counts = loss.counts(labels)
    parts = [
        loss(part(prediction, rows), labels[rows], counts) for rows in (slice(cut), slice(cut, 4))
    ]
    assert sum(parts).item() == pytest.approx(loss(prediction, labels).item(), rel=1e-5)


def test_counts_are_what_transformers_divides_by() -> None:
    """Masks for the mask terms, and the weights of the classes for cross-entropy."""
    _, labels = batch(0, images=3)
    masks = [len(set(label.flatten().tolist()) - {255}) for label in labels]
    weights = sum(masks) + 0.1 * (3 * QUERIES - sum(masks))
    counts = UniversalLoss(config()).counts(labels)
    assert counts.tolist() == pytest.approx([weights, sum(masks)])


def test_without_ignored_pixels_it_is_the_loss_of_transformers() -> None:
    """In the limit of many points: both sample, each in its own way."""
    torch.manual_seed(0)
    options = config(train_num_points=100_000, importance_sample_ratio=0.0)
    prediction, labels = batch(1, images=3, ignored=0.0)
    weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    classes = [label.unique() for label in labels]
    masks = [
        (label == ids[:, None, None]).float() for label, ids in zip(labels, classes, strict=True)
    ]
    theirs = Mask2FormerLoss(options, weights)(prediction.masks, prediction.classes, masks, classes)
    expected = sum(weights[name] * value for name, value in theirs.items())
    assert UniversalLoss(options)(prediction, labels).item() == pytest.approx(
        expected.item(), rel=5e-3
    )


def test_points_are_drawn_where_predictions_are_uncertain() -> None:
    prediction, labels = batch(2, images=2, ignored=0.0)
    prediction = Prediction(prediction.classes, 10 * prediction.masks)
    easy = UniversalLoss(config(importance_sample_ratio=0.0))(prediction, labels)
    hard = UniversalLoss(config(importance_sample_ratio=0.9))(prediction, labels)
    assert hard.item() != pytest.approx(easy.item(), rel=0.05)


def test_every_step_samples_other_points() -> None:
    """An image that is seen without augmentation would otherwise be learned at the same points."""
    prediction, labels = batch(2, images=2, ignored=0.0)
    loss = UniversalLoss(config(train_num_points=32))
    values = []
    for loss.step in (0, 1, 0):
        values.append(loss(prediction, labels).item())
    assert values[0] == values[2] != values[1]


def test_ignored_pixels_have_no_influence() -> None:
    """Neither on the loss nor on the gradient, whatever is predicted there."""
    loss = UniversalLoss(config())
    prediction, labels = batch(3, images=2, ignored=0.0)
    labels[:, :16] = 255
    ignored = torch.zeros(8, 12, dtype=torch.bool)
    ignored[:3] = True  # the fourth row of masks is blended into labeled pixels below it
    changed = Prediction(
        prediction.classes, torch.where(ignored, 50 * torch.randn(8, 12), prediction.masks)
    )
    for each in (prediction, changed):
        each.masks.requires_grad_()
        each.masks.retain_grad()
    losses = [loss(prediction, labels), loss(changed, labels)]
    assert losses[0].item() == losses[1].item()
    for each, value in zip((prediction, changed), losses, strict=True):
        value.backward()
        assert each.masks.grad[..., ignored].abs().max() == 0
        assert each.masks.grad[..., ~ignored].abs().max() > 0


def test_ids_are_classes_as_they_are() -> None:
    """Of ids {0, 2, 255}, transformers' image processors make the classes 1 and 254."""
    labels = torch.full((1, 16, 16), 255)
    labels[0, :8], labels[0, 8:12] = 0, 2
    masks = torch.full((1, QUERIES, 16, 16), -20.0)
    masks[0, 0, :8], masks[0, 1, 8:] = 20.0, 20.0
    classes = torch.full((1, QUERIES, CLASSES + 1), -20.0)
    classes[0, 0, 0] = classes[0, 1, 2] = 20.0
    classes[0, 2:, CLASSES] = 20.0
    assert UniversalLoss(config())(Prediction(classes, masks), labels).item() < 1e-4


def test_an_image_without_labels_costs_nothing() -> None:
    loss = UniversalLoss(config())
    prediction, labels = batch(4, images=2, ignored=0.0)
    alone = loss(part(prediction, slice(1)), labels[:1])
    labels[1] = 255
    prediction.classes.requires_grad_()
    both = loss(prediction, labels)
    assert both.item() == pytest.approx(alone.item())
    both.backward()
    assert prediction.classes.grad[1].abs().max() == 0
    labels[:] = 255
    assert loss(prediction, labels).item() == 0


def test_more_classes_than_queries_train_the_best_matches() -> None:
    prediction, labels = batch(5, images=1, ignored=0.0)
    few = Prediction(prediction.classes[:, :2], prediction.masks[:, :2])
    loss = UniversalLoss(config(num_queries=2))
    assert loss.counts(labels).tolist() == [2, 2]
    assert loss(few, labels).isfinite()


def test_evaluation_reports_the_cross_entropy_of_normalized_scores() -> None:
    _, labels = batch(6, images=2)
    scores = torch.rand(2, CLASSES, 32, 48)
    expected = F.nll_loss(class_probabilities(scores).log(), labels, ignore_index=255)
    assert ScoreLoss()(scores, labels).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"terms": "dice"}, "--loss"),
        ({"terms": "ce+dice"}, "--loss"),
        ({"class_weights": [1.0] * CLASSES}, "--class_weights"),
        ({"label_smoothing": 0.1}, "--label_smoothing_factor"),
    ],
)
def test_options_of_pixel_losses_are_refused(options: dict, flag: str) -> None:
    model = SimpleNamespace(config=config())
    assert isinstance(loss_for(model, SegmentationLoss()), UniversalLoss)
    with pytest.raises(UserError, match=f"leave out {flag}"):
        loss_for(model, SegmentationLoss(**options))
