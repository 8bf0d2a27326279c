"""Every loss against plain numpy, with ignored pixels, and its gradient against differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from hfseg.errors import UserError
from hfseg.training import losses
from hfseg.training.losses import IMAGE_TERMS, PIXEL_TERMS, SegmentationLoss, mean, parse_terms

TERMS = (*PIXEL_TERMS, *IMAGE_TERMS)


# ---- the reference: loops over pixels, one image at a time ----


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(0))
    return exp / exp.sum(0)


def reference(name: str, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """logits (B, C, H, W) and labels (B, H, W), 255 ignored."""
    images = []
    for image, label in zip(logits, labels, strict=True):
        p = softmax(image)
        pixels = [(p[:, y, x], label[y, x]) for y, x in np.argwhere(label != 255)]
        if pixels:
            images.append(pixels)
    if not images:
        return 0.0
    if name in ("ce", "focal"):
        total = count = 0.0
        for p, true in (pixel for image in images for pixel in image):
            hardness = (1 - p[true]) ** 2 if name == "focal" else 1.0
            total += weights[true] * hardness * -math.log(p[true])
            count += weights[true]
        return total / count
    score = {"ohem": hard_pixels, "lovasz": lovasz}.get(name)
    if score is not None:
        return float(np.mean([score(image, weights) for image in images]))
    alpha, beta = {"dice": (0.5, 0.5), "jaccard": (1, 1), "tversky": (0.3, 0.7)}[name]
    return float(np.mean([tversky(image, alpha, beta) for image in images]))


def tversky(pixels, alpha: float, beta: float) -> float:
    losses = []
    for c in {true for _, true in pixels}:
        hit = sum(p[c] for p, true in pixels if true == c)
        wrong = sum(p[c] for p, true in pixels if true != c)
        missed = sum(1 - p[c] for p, true in pixels if true == c)
        losses.append(1 - hit / (hit + alpha * wrong + beta * missed))
    return sum(losses) / len(losses)


def lovasz(pixels, weights) -> float:
    """Sum over the sorted errors of the error times the rise of the Jaccard loss (eq. 8)."""
    losses = []
    for c in {true for _, true in pixels}:
        errors = [(1 - p[c] if true == c else p[c], true == c) for p, true in pixels]
        errors.sort(key=lambda item: -item[0])
        size = sum(of_class for _, of_class in errors)
        value = before = 0.0
        missed = wrong = 0
        for error, of_class in errors:
            missed, wrong = missed + of_class, wrong + (not of_class)
            jaccard = 1 - (size - missed) / (size + wrong)
            value += error * (jaccard - before)
            before = jaccard
        losses.append(value)
    return sum(losses) / len(losses)


def hard_pixels(pixels, weights) -> float:
    ranked = sorted(pixels, key=lambda pixel: pixel[0][pixel[1]])
    at_least = max(len(ranked) // 16, 1)
    kept = [pixel for i, pixel in enumerate(ranked) if i < at_least or pixel[0][pixel[1]] < 0.7]
    total = sum(-math.log(p[true]) * weights[true] for p, true in kept)
    return total / sum(weights[true] for _, true in kept)


# ---- the tests ----


def batch(seed: int, images: int, classes: int, ignored: float, scale: float = 3.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (images, classes, 5, 7))
    labels = rng.integers(0, classes, (images, 5, 7))
    labels[rng.random(labels.shape) < ignored] = 255
    weights = rng.uniform(0.2, 3, classes)
    return torch.from_numpy(logits), torch.from_numpy(labels), weights


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 3),
    classes=st.integers(2, 5),
    ignored=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    weighted=st.booleans(),
)
def test_loss_equals_plain_numpy(name, seed, images, classes, ignored, weighted) -> None:
    logits, labels, weights = batch(seed, images, classes, ignored)
    if not weighted or name not in ("ce", "focal", "ohem"):
        weights = np.ones(classes)
    loss = SegmentationLoss(name, class_weights=weights.tolist() if weighted else None)
    expected = reference(name, logits.numpy(), labels.numpy(), weights)
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", [*TERMS, "ce+0.5*dice"])
def test_gradient_equals_finite_differences(name: str) -> None:
    logits, labels, weights = batch(1, images=2, classes=3, ignored=0.3)
    loss = SegmentationLoss(name, class_weights=weights.tolist())
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (logits,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TERMS)
def test_ignored_pixels_get_no_gradient(name: str) -> None:
    logits, labels, _ = batch(2, images=2, classes=4, ignored=0.4)
    logits.requires_grad_()
    SegmentationLoss(name)(logits, labels).backward()
    ignored = (labels == 255)[:, None].expand_as(logits)
    assert logits.grad[ignored].abs().max() == 0
    assert logits.grad[~ignored].abs().max() > 0


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 3))
def test_parts_of_a_batch_add_up_to_the_whole(name: str, seed: int, cut: int) -> None:
    logits, labels, weights = batch(seed, images=4, classes=3, ignored=0.5)
    loss = SegmentationLoss(name, class_weights=weights.tolist())
    counts = loss.counts(labels)
    parts = [loss(logits[rows], labels[rows], counts) for rows in (slice(cut), slice(cut, None))]
    assert sum(parts).item() == pytest.approx(loss(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_a_large_batch_is_computed_in_parts_with_the_same_loss_and_gradient(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, labels, _ = batch(8, images=3, classes=4, ignored=0.3)
    small = F.avg_pool2d(small, 2)

    def run() -> tuple[torch.Tensor, torch.Tensor, int]:
        logits = small.clone().requires_grad_()
        with LargestTensor() as seen:
            loss = SegmentationLoss(name)(logits, labels)
            loss.backward()
        return loss.detach(), logits.grad, seen.values

    whole = run()
    one_image = small.shape[1] * labels[0].numel()
    monkeypatch.setattr(losses, "_VALUES_AT_ONCE", one_image)
    parts = run()
    torch.testing.assert_close(parts[0], whole[0])
    torch.testing.assert_close(parts[1], whole[1])
    assert whole[2] >= 3 * one_image
    assert parts[2] <= max(one_image, labels.numel())


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that is made, forwards and backwards."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.values = max(self.values, tensor.numel())
        return made


def test_cross_entropy_is_that_of_torch_with_weights_and_smoothing() -> None:
    logits, labels, weights = batch(3, images=2, classes=4, ignored=0.2)
    ours = SegmentationLoss("ce", label_smoothing=0.1, class_weights=weights.tolist())
    theirs = F.cross_entropy(
        logits, labels, torch.from_numpy(weights), ignore_index=255, label_smoothing=0.1
    )
    assert ours(logits, labels).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_dice_of_one_full_image_is_that_of_segmentation_models_pytorch() -> None:
    from segmentation_models_pytorch.losses import DiceLoss

    logits, labels, _ = batch(4, images=1, classes=3, ignored=0.0)
    theirs = DiceLoss("multiclass")(logits, labels)
    assert SegmentationLoss("dice")(logits, labels).item() == pytest.approx(theirs.item())


@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_lovasz_of_an_image_is_that_of_segmentation_models_pytorch(ignored: float) -> None:
    from segmentation_models_pytorch.losses import LovaszLoss

    logits, labels, _ = batch(8, images=1, classes=6, ignored=ignored)
    labels[labels == 2] = 3  # a class that doesn't occur
    logits, other = logits.float().requires_grad_(), logits.float().requires_grad_()
    ours, theirs = SegmentationLoss("lovasz"), LovaszLoss("multiclass", ignore_index=255)
    loss, expected = ours(logits, labels), theirs(other, labels)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(logits.grad, other.grad)


def test_logits_are_resized_to_the_labels() -> None:
    logits, labels, _ = batch(5, images=2, classes=3, ignored=0.1)
    small = logits[..., :3, :4]
    large = F.interpolate(small, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    loss = SegmentationLoss("ce+dice")
    assert loss(small, labels).item() == pytest.approx(loss(large, labels).item())


@pytest.mark.parametrize("name", TERMS)
def test_half_precision_logits_are_computed_in_float32(name: str) -> None:
    logits, labels, _ = batch(6, images=1, classes=3, ignored=0.1)
    half = logits.bfloat16()
    assert SegmentationLoss(name)(half, labels).dtype == torch.float32
    expected = SegmentationLoss(name)(half.float(), labels).item()
    assert SegmentationLoss(name)(half, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_a_batch_without_a_valid_pixel_costs_nothing_and_can_be_differentiated(name: str) -> None:
    logits, labels, _ = batch(7, images=2, classes=3, ignored=1.0)
    logits.requires_grad_()
    loss = SegmentationLoss(name)(logits, labels)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_sums_of_losses_are_parsed() -> None:
    assert parse_terms("ce+0.5*dice + .25*ohem") == [(1, "ce"), (0.5, "dice"), (0.25, "ohem")]


@pytest.mark.parametrize("text", ["cross", "ce+", "ce*2", "-1*ce", "", "ce + 2 dice"])
def test_an_unknown_loss_is_named(text: str) -> None:
    with pytest.raises(UserError, match="is not a loss; choose from ce, focal"):
        parse_terms(text)


def test_mean_of_nothing_is_zero() -> None:
    assert mean(torch.zeros(2), torch.zeros(2)) == 0
