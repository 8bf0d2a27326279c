"""Augmentation. The only module that uses albumentations.

It works around two problems of release 2.0.8: every DataLoader worker draws the same random
stream, and after `set_random_seed` each transform of a pipeline gets the same seed, so that two
flips always agree. Here the randomness of a sample is a function of
(seed, epoch, index), in any process or worker.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
import yaml

from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX

cv2.setNumThreads(0)  # OpenCV's threads compete with DataLoader workers

Size = tuple[int, int]
AUGMENTATIONS = ("none", "light", "standard", "strong", "roboflow")
_SCALED = ("standard", "strong")
# INTER_NEAREST rounds source coordinates down when it resizes: masks shift by up to half a pixel
_MASK_RESIZE = cv2.INTER_NEAREST_EXACT
_RESIZING = (
    A.RandomScale,
    A.Resize,
    A.LongestMaxSize,
    A.SmallestMaxSize,
    A.RandomResizedCrop,
    A.RandomSizedCrop,
)


def _color(strength: float, p: float) -> A.BasicTransform:
    around_one = (1 - strength, 1 + strength)
    return A.ColorJitter(
        brightness=around_one,
        contrast=around_one,
        saturation=around_one,
        hue=(-strength / 6, strength / 6),
        p=p,
    )


def _rotate(degrees: float, p: float) -> A.BasicTransform:
    """Pixels from outside the image are black and ignored."""
    return A.Rotate(
        limit=(-degrees, degrees),
        border_mode=cv2.BORDER_CONSTANT,
        fill=0,
        fill_mask=IGNORE_INDEX,
        p=p,
    )


def _crop(size: Size | None) -> list[A.BasicTransform]:
    if size is None:
        return []
    height, width = size
    return [
        A.PadIfNeeded(height, width, position="random", fill=0, fill_mask=IGNORE_INDEX),
        A.RandomCrop(height, width),
    ]


def _scale(low: float, high: float) -> A.BasicTransform:
    return A.RandomScale(
        scale_limit=(low - 1, high - 1),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=_MASK_RESIZE,
        area_for_downscale="image",
        p=1.0,
    )


def _preset(name: str, crop: list[A.BasicTransform]) -> list[A.BasicTransform]:
    """The transforms of a preset, with `crop` (possibly none) in its place."""
    flip = A.HorizontalFlip(p=0.5)
    presets: dict[str, list[A.BasicTransform]] = {
        "none": crop,
        "light": [*crop, flip],
        "standard": [_scale(0.5, 2.0), *crop, flip, _color(0.3, p=0.8)],
        "strong": [
            _scale(0.5, 2.0),
            *crop,
            _rotate(15, p=0.5),
            flip,
            _color(0.4, p=0.8),
            A.OneOf([A.GaussianBlur(sigma_limit=(0.1, 2.0)), A.GaussNoise((0.02, 0.1))], p=0.3),
            A.ToGray(p=0.1),
        ],
        # the augmentation that Roboflow's export offers and many course projects use
        "roboflow": [
            _rotate(15, p=1.0),
            flip,
            A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=1.0),
            A.GaussNoise(std_range=(0.0, 0.05), p=1.0),
            *crop,
        ],
    }
    return presets[name]


def _read_pipeline(path: Path) -> A.BaseCompose:
    """An albumentations pipeline from YAML, as `A.to_dict` writes it; masks are filled with 255.

    Raises:
        UserError: a missing file, invalid YAML, or a transform that albumentations rejects.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        pipeline = A.from_dict(content if "transform" in content else {"transform": content})
    except OSError as error:
        raise UserError(
            f"--augmentation {path}: can't be read ({error.strerror}); check the path"
        ) from error
    except Exception as error:  # transforms raise anything
        raise UserError(
            f"--augmentation {path}: not an albumentations pipeline as A.to_dict writes it "
            f"({' '.join(str(error).split())[:200] or type(error).__name__})"
        ) from error
    if not isinstance(pipeline, A.BaseCompose):
        pipeline = A.Compose([pipeline])
    for transform in _leaves(pipeline):
        # albumentations fills masks with 0 by default, which is a class
        if getattr(transform, "fill_mask", None) == 0:
            transform.fill_mask = IGNORE_INDEX
        if isinstance(transform, _RESIZING) and transform.mask_interpolation == cv2.INTER_NEAREST:
            transform.mask_interpolation = _MASK_RESIZE
        nearest = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
        if getattr(transform, "mask_interpolation", cv2.INTER_NEAREST) not in nearest:
            raise UserError(
                f"--augmentation {path}: {type(transform).__name__} interpolates mask ids; "
                "leave mask_interpolation at 0 (nearest)"
            )
    return pipeline


def _leaves(pipeline: A.BaseCompose) -> Iterator[A.BasicTransform]:
    for transform in pipeline.transforms:
        if isinstance(transform, A.BaseCompose):
            yield from _leaves(transform)
        else:
            yield transform


class TrainingTransform:
    """Augments one image and mask: random scale, crop, pad, flip and color, by the preset.

    Args:
        augmentation: `none`, `light` (flip), `standard` (scale 0.5-2, crop, flip, photometric),
            `strong` (`standard` with rotation, blur or noise, and gray), `roboflow` (rotation of
            up to 15 degrees, flip, brightness and contrast, noise), or a YAML file with an
            albumentations pipeline as `A.to_dict` writes it.
        crop_size: (height, width) of the result; images are padded with 0, masks with 255.
            Without it `standard` and `strong` crop back to each image's own size.
        seed: with the epoch and the index, determines a sample's randomness.
    """

    def __init__(self, augmentation: str, crop_size: Size | None, seed: int) -> None:
        self.augmentation = augmentation
        self.crop_size = crop_size
        self.seed = seed
        self._compose: dict[Size | None, A.Compose] = {}
        self._own = None
        if augmentation not in AUGMENTATIONS:
            if Path(augmentation).suffix not in (".yaml", ".yml"):
                raise UserError(
                    f"--augmentation {augmentation!r}: choose from {', '.join(AUGMENTATIONS)}, "
                    "or give a YAML file"
                )
            self._own = _read_pipeline(Path(augmentation))

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, epoch: int, index: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 and (H, W) uint8 -> the same, at the crop's size."""
        size = self.crop_size
        if size is None and self.augmentation in _SCALED:
            size = image.shape[:2]
        compose = self._compose.get(size)
        if compose is None:
            own = [self._own] if self._own is not None else None
            steps = [*own, *_crop(size)] if own else _preset(self.augmentation, _crop(size))
            compose = self._compose[size] = A.Compose(steps)
        # one pair of generators for the pipeline, so that no two transforms draw the same numbers
        entropy = np.random.SeedSequence((self.seed, epoch, index))
        words = entropy.generate_state(2)
        compose.set_random_state(
            np.random.default_rng(entropy), random.Random(int(words[0]) << 32 | int(words[1]))
        )
        result = compose(image=image, mask=mask)
        return result["image"], result["mask"]
