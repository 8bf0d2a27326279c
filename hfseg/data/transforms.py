"""Augmentation. The one place that knows albumentations.

Its 2.0.8 release has two habits that this file mends: every DataLoader worker draws the same
random stream, and after `set_random_seed` each transform of a pipeline gets the same seed, so
that two flips always agree. Here the randomness of a sample is a function of
(seed, epoch, index), whichever process or worker draws it.
"""

import os
import random

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np

from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX

cv2.setNumThreads(0)  # OpenCV's own threads fight with DataLoader workers

Size = tuple[int, int]
AUGMENTATIONS = ("none", "light", "standard")


def parse_size(flag: str, text: str | int | None) -> Size | None:
    """`"512x1024"` (height x width) or `"513"` (a square) -> (height, width)."""
    if text is None or str(text).lower() in ("", "none"):
        return None
    try:
        sides = [int(side) for side in str(text).lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise UserError(f"{flag} {text!r}: give HxW such as 512x1024, or one number for a square")
    return sides[0], sides[-1]


def _photometric() -> list[A.BasicTransform]:
    return [
        A.ColorJitter(
            brightness=(0.7, 1.3),
            contrast=(0.7, 1.3),
            saturation=(0.7, 1.3),
            hue=(-0.05, 0.05),
            p=0.8,
        )
    ]


def _crop(size: Size | None) -> list[A.BasicTransform]:
    if size is None:
        return []
    height, width = size
    return [
        A.PadIfNeeded(height, width, position="random", fill=0, fill_mask=IGNORE_INDEX),
        A.RandomCrop(height, width),
    ]


def _pipeline(augmentation: str, crop_size: Size | None) -> list[A.BasicTransform]:
    scale = A.RandomScale(
        scale_limit=(0.5 - 1, 2.0 - 1),
        interpolation=cv2.INTER_LINEAR,
        area_for_downscale="image",
        p=1.0,
    )
    presets: dict[str, list[A.BasicTransform]] = {
        "none": _crop(crop_size),
        "light": [*_crop(crop_size), A.HorizontalFlip(p=0.5)],
        "standard": [scale, *_crop(crop_size), A.HorizontalFlip(p=0.5), *_photometric()],
    }
    if augmentation not in presets:
        raise UserError(f"--augmentation {augmentation!r}: choose from {', '.join(AUGMENTATIONS)}")
    return presets[augmentation]


class TrainingTransform:
    """Augments one image and mask: random scale, crop, pad, flip and colour as the preset says.

    Args:
        augmentation: `none`, `light` (flip) or `standard` (scale 0.5-2, crop, flip, photometric).
        crop_size: (height, width) of what comes out; images are padded with 0, masks with 255.
            Without it `standard` crops back to each image's own size.
        seed: with the epoch and the index, what decides a sample's randomness.
    """

    def __init__(self, augmentation: str, crop_size: Size | None, seed: int) -> None:
        self.augmentation = augmentation
        self.crop_size = crop_size
        self.seed = seed
        self._compose: dict[Size | None, A.Compose] = {}
        _pipeline(augmentation, crop_size)  # a wrong name is told now, not in a worker

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, epoch: int, index: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 and (H, W) uint8 -> the same, at the crop's size."""
        size = self.crop_size
        if size is None and self.augmentation == "standard":
            size = image.shape[:2]
        compose = self._compose.get(size)
        if compose is None:
            compose = self._compose[size] = A.Compose(_pipeline(self.augmentation, size))
        # one pair of generators for the whole pipeline: no two transforms share a draw
        entropy = np.random.SeedSequence((self.seed, epoch, index))
        words = entropy.generate_state(2)
        compose.set_random_state(
            np.random.default_rng(entropy), random.Random(int(words[0]) << 32 | int(words[1]))
        )
        result = compose(image=image, mask=mask)
        return result["image"], result["mask"]
