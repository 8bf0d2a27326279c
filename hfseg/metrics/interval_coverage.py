"""How often a 95 % interval of the mean IoU holds the true value, by simulation.

    python -m hfseg.metrics.interval_coverage

prints the table of docs/evaluation-intervals.md (about two minutes on one core).

A dataset has 12 classes. Common ones occur in 60 to 100 % of the images, rare ones in exactly two
images of each sample, however large it is. In an image, a class has a log-normal area and a
beta-distributed IoU; all IoUs of an image share a difficulty. Optionally each class is also
predicted by mistake in every tenth image without it. The true value is the mean over the classes
of the expected hits divided by the expected union.
"""

from dataclasses import dataclass

import numpy as np

from hfseg.metrics.intervals import mean_iou_difference, mean_iou_interval
from hfseg.metrics.table import iou, mean_over_classes

NUM_CLASSES = 12
SIZES = (20, 50, 100)
_PIXELS = 10_000  # in an object of median size
_NAMES = tuple(f"class {index}" for index in range(NUM_CLASSES))


@dataclass(frozen=True)
class Scenario:
    """What the images of a simulated dataset are like.

    Attributes:
        title: for the table.
        rare: how many of the classes occur in two images only.
        rare_iou: mean IoU of a rare class in an image; a common one has 0.6 to 0.9.
        false_positives: whether classes are also predicted where they aren't.
    """

    title: str
    rare: int
    rare_iou: float = 0.5
    false_positives: bool = False


SCENARIOS = (
    Scenario("no rare class", 0),
    Scenario("1 rare class", 1),
    Scenario("4 rare classes", 4),
    Scenario("4 rare classes, segmented badly", 4, rare_iou=0.15),
    Scenario("4 rare classes, false positives", 4, false_positives=True),
    Scenario("8 rare classes", 8),
    Scenario("8 rare classes, segmented badly", 8, rare_iou=0.15),
    Scenario("8 rare classes, false positives", 8, false_positives=True),
)


def sample(
    scenario: Scenario, images: int, rng: np.random.Generator, models: int = 1
) -> list[np.ndarray]:
    """(images, 3, K) counts of each model, on the same images."""
    rare = np.arange(NUM_CLASSES) >= NUM_CLASSES - scenario.rare
    common = NUM_CLASSES - scenario.rare
    frequency = np.concatenate([np.linspace(1, 0.6, common), np.zeros(scenario.rare)])
    present = rng.random((images, NUM_CLASSES)) < frequency
    for index in np.flatnonzero(rare):
        present[rng.choice(images, 2, replace=False), index] = True
    mean = np.concatenate(
        [np.linspace(0.9, 0.6, common), np.full(scenario.rare, scenario.rare_iou)]
    )
    shape = np.where(rare, 3.0, 8.0)
    truth = np.exp(0.7 * rng.standard_normal(present.shape)) * present
    difficulty = np.exp(0.4 * rng.standard_normal((images, 1)))
    # false positives are smaller, and differ between models
    counts = []
    for _ in range(models):
        iou = rng.beta(mean * shape, (1 - mean) * shape, present.shape) ** difficulty
        hits = truth * 2 * iou / (1 + iou)  # as many false negatives as false positives
        mistakes = (rng.random(present.shape) < 0.1) & ~present & scenario.false_positives
        predicted = truth + 0.1 * mistakes * np.exp(rng.standard_normal(present.shape))
        counts.append(np.round(_PIXELS * np.stack([hits, truth, predicted], 1)).astype(np.int64))
    return counts


def true_mean_iou(scenario: Scenario, images: int, rng: np.random.Generator) -> float:
    """Of very many samples of this size together."""
    total = sum(sample(scenario, images, rng)[0].sum(0) for _ in range(2000))
    return float(mean_over_classes(iou(np.asarray(total))))


def percentile_bootstrap(counts: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The usual interval over images (Efron 1979), which loses rare classes in some draws."""
    number = len(counts)
    times = rng.multinomial(number, np.full(number, 1 / number), 500)
    drawn = (times @ counts.reshape(number, -1)).reshape(-1, *counts.shape[1:])
    low, high = np.quantile(mean_over_classes(iou(np.moveaxis(drawn, 1, 0))), [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Coverage:
    """Fractions of the samples whose interval holds the true value, and the median width."""

    bootstrap: float
    chosen: float
    difference: float
    width: float


def coverage(scenario: Scenario, images: int, samples: int = 500, seed: int = 0) -> Coverage:
    """Simulate `samples` evaluations of two equally good models on `images` images."""
    rng = np.random.default_rng((seed, images))
    true = true_mean_iou(scenario, images, rng)
    held = np.zeros(3)
    widths = []
    for _ in range(samples):
        first, second = sample(scenario, images, rng, models=2)
        before, after = dict(enumerate(first)), dict(enumerate(second))
        chosen = mean_iou_interval(before, _NAMES).bounds
        difference = mean_iou_difference(before, after, _NAMES).bounds
        assert chosen is not None and difference is not None
        bounds = (percentile_bootstrap(first, rng), chosen, difference)
        values = (true, true, 0.0)
        held += [low <= value <= high for (low, high), value in zip(bounds, values, strict=True)]
        widths.append(chosen[1] - chosen[0])
    bootstrap, intervals, differences = (held / samples).tolist()
    return Coverage(bootstrap, intervals, differences, float(np.median(widths)))


def main() -> None:
    print("| classes | images | bootstrap over images | chosen | median width | difference |")
    print("|---|---:|---:|---:|---:|---:|")
    for scenario in SCENARIOS:
        for images in SIZES:
            row = coverage(scenario, images)
            print(
                f"| {scenario.title} | {images} | {row.bootstrap:.3f} | {row.chosen:.3f} | "
                f"{row.width:.2f} | {row.difference:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
