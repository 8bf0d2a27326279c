"""Ignoring label 0 after the labels were reduced ignores the first class.

`do_reduce_labels` shifts the ids by one, and the "other" pixels of ADE20K from 0 to 255. Pixels to
be ignored are then 255; transformers' example script ignores 0, which is now "wall".
"""

import evaluate
import numpy as np

import hfseg

raw = np.ones((1, 64, 64), dtype=np.int64)  # 1 is wall, 2 building
raw[:, 32:] = 2
raw[:, :8] = 0  # other
reduced = np.where(raw == 0, 255, raw - 1)  # 0 is wall, 1 building
predicted = np.ones_like(reduced)  # building everywhere


def mean_iou(ignore_index: int) -> float:
    truth = np.where(reduced == 255, ignore_index, reduced)
    metric = evaluate.load(hfseg.MEAN_IOU)
    return metric.compute(
        predictions=predicted, references=truth, num_labels=2, ignore_index=ignore_index
    )["mean_iou"]


if __name__ == "__main__":
    print(f"label 0 ignored:   {mean_iou(0):.4f}")
    print(f"label 255 ignored: {mean_iou(255):.4f}")
