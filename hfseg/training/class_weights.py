"""Class weights against imbalance, from class counts of the training masks, which are cached."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import yaml

from hfseg.errors import UNREADABLE, UserError
from hfseg.labels import LabelSet

SCHEMES = ("none", "balanced", "median", "enet")


@dataclass(frozen=True)
class ClassCounts:
    """How often each class occurs.

    Attributes:
        pixels: (K,) pixels of the class.
        in_images: (K,) valid pixels of all images in which the class occurs.
    """

    pixels: np.ndarray
    in_images: np.ndarray


def class_weights(
    scheme: str, data: datasets.Dataset, labels: LabelSet
) -> tuple[float, ...] | None:
    """One weight per class, by `--class_weights`; None for `none`.

    With n_c the pixels of class c, N all valid pixels and K the classes that occur:

    - `balanced`: N / (K n_c), as scikit-learn's `compute_class_weight`;
    - `median`: median frequency balancing, Eigen & Fergus 2015 (arXiv 1411.4734, section 6.3.2),
      where a frequency is n_c over the pixels of the images with class c;
    - `enet`: 1 / ln(1.02 + n_c / N), Paszke et al. 2016 (arXiv 1606.02147, section 5.2);
    - a JSON or YAML file: a list in id order, or class name -> weight.

    In the first two a class that doesn't occur has weight 0.

    Raises:
        UserError: an unknown scheme or file, or a file that does not match the classes.
    """
    if scheme == "none":
        return None
    if scheme not in SCHEMES:
        return _from_file(scheme, labels)
    if not hasattr(data, "__len__"):
        raise UserError(
            f"--class_weights {scheme} counts all training masks, which --streaming does not "
            "download; give a file of weights"
        )
    counts = count_classes(data, len(labels))
    pixels = counts.pixels.astype(np.float64)
    present = pixels > 0
    if not present.any():
        raise UserError(
            "--class_weights: no pixel of the training masks is labeled; check the masks"
        )
    weights = np.zeros(len(labels))
    if scheme == "balanced":
        weights[present] = pixels.sum() / (present.sum() * pixels[present])
    elif scheme == "median":
        frequency = pixels[present] / counts.in_images[present]
        weights[present] = np.median(frequency) / frequency
    else:
        weights = 1 / np.log(1.02 + pixels / pixels.sum())
    return tuple(weights.tolist())


def count_classes(data: datasets.Dataset, num_labels: int) -> ClassCounts:
    """The counts of the `label` column of a split, cached in a folder of `datasets`' cache."""
    cache = Path(datasets.config.HF_DATASETS_CACHE) / "hfseg-class-counts"
    file = cache / f"{data._fingerprint}-{num_labels}.json"
    if file.is_file():
        stored = json.loads(file.read_text(encoding="utf-8"))
        return ClassCounts(np.array(stored["pixels"]), np.array(stored["in_images"]))
    pixels = np.zeros(num_labels, dtype=np.int64)
    in_images = np.zeros(num_labels, dtype=np.int64)
    for row in data.select_columns("label"):
        found = np.bincount(np.asarray(row["label"]).ravel(), minlength=num_labels)[:num_labels]
        pixels += found
        in_images[found > 0] += found.sum()
    cache.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"pixels": pixels.tolist(), "in_images": in_images.tolist()}))
    partial.replace(file)
    return ClassCounts(pixels, in_images)


def _from_file(name: str, labels: LabelSet) -> tuple[float, ...]:
    path = Path(name)
    if not path.is_file():
        raise UserError(
            f"--class_weights {name}: no such scheme or file; choose from {', '.join(SCHEMES)}, or "
            "give a JSON or YAML file of weights"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            unknown = sorted(set(values) - set(labels.names))
            absent = [label for label in labels.names if label not in values]
            if unknown or absent:
                raise UserError(
                    f"{path}: {unknown[0]!r} is not a class of the dataset"
                    if unknown
                    else f"{path}: the class {absent[0]!r} has no weight"
                )
            values = [values[label] for label in labels.names]
        weights = [float(value) for value in values]
    except (*UNREADABLE, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: expected a list of numbers, or lines of `class name: number`"
        ) from error
    if len(weights) != len(labels):
        raise UserError(
            f"{path}: {len(weights)} weights, but the dataset has {len(labels)} classes"
        )
    if min(weights) < 0 or not np.isfinite(weights).all() or max(weights) == 0:
        raise UserError(f"{path}: weights must be finite, not negative, and not all 0")
    return tuple(weights)
