"""The mean of the batches' mean IoU is not the mean IoU of the split."""

import evaluate
import numpy as np

import hfseg

rng = np.random.default_rng(0)
truth = rng.integers(0, 3, (16, 64, 64))
truth[:12][truth[:12] == 2] = 0  # class 2 occurs in four of the 16 images
wrong = rng.random(truth.shape) < 0.2
predicted = np.where(wrong, rng.integers(0, 3, truth.shape), truth)


def mean_iou(images: slice) -> float:
    metric = evaluate.load(hfseg.MEAN_IOU)
    found = metric.compute(
        predictions=predicted[images], references=truth[images], num_labels=3, ignore_index=255
    )
    return found["mean_iou"]


if __name__ == "__main__":
    print(f"the split:                     {mean_iou(slice(None)):.4f}")
    for size in (8, 4, 1):
        batches = [mean_iou(slice(start, start + size)) for start in range(0, 16, size)]
        print(f"mean over batches of {size} images: {np.mean(batches):.4f}")
