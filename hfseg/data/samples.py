"""What a DataLoader reads: samples for training and for evaluation, and how they become a batch.

Pixels reach the model only through the image processor that is saved with it, so that training,
evaluation and inference agree.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypedDict, TypeVar, cast

import datasets
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler
from transformers import SegformerImageProcessor

from hfseg.data.in_memory import Indexed, read_pair
from hfseg.data.pixel_values import whole_image_options
from hfseg.data.rows import sample_names
from hfseg.data.transforms import Size, TrainingTransform
from hfseg.errors import UserError

SampleKey = tuple[int, int]
"""(epoch, index): determines a training sample, including its augmentation."""


class Sample(TypedDict, total=False):
    """`index` (or a checksum); `image`, (H, W, 3) uint8, or `pixel_values`, (3, H, W) float32;
    `label`, (H, W) integers; and of a stream the `position` after it."""

    index: int
    image: np.ndarray
    pixel_values: torch.Tensor
    label: np.ndarray
    position: object


Tensors = torch.Tensor | list[torch.Tensor]
"""A stacked batch, or one tensor per sample where sizes differ."""
_Rows = TypeVar("_Rows")


class Batch(TypedDict):
    """What `Collator` returns."""

    index: torch.Tensor
    pixel_values: Tensors
    labels: Tensors


class EpochSampler(Sampler[SampleKey]):
    """Yields every index once, shuffled by (seed, epoch), each with the epoch it belongs to.

    The epoch travels with the index to whichever worker loads the sample, so a run that is
    resumed in the middle of an epoch sees what the uninterrupted run would have seen.

    Args:
        length: number of samples.
        seed: of the order.
        extra: how many samples at the end are additional; of these each epoch has a part.
        extra_weight: that part, drawn by (seed, epoch).
    """

    def __init__(self, length: int, seed: int, extra: int = 0, extra_weight: float = 1.0) -> None:
        self.length = length
        self.seed = seed
        self.extra = extra
        self.left_out = extra - round(extra * extra_weight)
        self.epoch = 0

    def start_epoch(self, epoch: int) -> None:
        """Not named `set_epoch`: accelerate would call that with a count of its own."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length - self.left_out

    def __iter__(self) -> Iterator[SampleKey]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(self.length)
        if self.left_out:
            is_extra = order >= self.length - self.extra
            order = order[~is_extra | (is_extra.cumsum() > self.left_out)]
        epoch = self.epoch
        return ((epoch, int(index)) for index in order)


class TrainingSamples(Dataset[Sample]):
    """Augmented samples, addressed by (epoch, index).

    Args:
        data: columns `image` and `label`.
        transform: the augmentation.
        resize: a processor that first resizes image and mask, or None.
        extra, extra_weight: as of `EpochSampler`.
    """

    def __init__(
        self,
        data: datasets.Dataset,
        transform: TrainingTransform,
        resize: SegformerImageProcessor | None = None,
        extra: int = 0,
        extra_weight: float = 1.0,
    ) -> None:
        self.data = _pairs(data)
        self.transform = transform
        self.resize = resize
        self.extra = extra
        self.extra_weight = extra_weight

    def sampler(self, seed: int) -> EpochSampler:
        """What each epoch consists of."""
        return EpochSampler(len(self), seed, self.extra, self.extra_weight)

    @property
    def per_epoch(self) -> int:
        """How many samples an epoch has."""
        return len(self.sampler(seed=0))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: SampleKey) -> Sample:
        epoch, index = key
        image, label = read_example(self.data, index)
        if self.resize is not None:
            image, label = resize_pair(image, label, self.resize)
        image, label = self.transform(image, label, epoch, index)
        return {"index": index, "image": image, "label": label}


class EvaluationSamples(Dataset[Sample]):
    """Samples as they are: the image at its own size, the label at the size it is scored at.

    Args:
        data: columns `image` and `label`.
        label_size: score at this (height, width) instead of the label's own, or None.
    """

    def __init__(self, data: datasets.Dataset, label_size: Size | None = None) -> None:
        self.data = _pairs(data)
        self.label_size = label_size

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        image, label = read_example(self.data, index)
        if self.label_size is not None:
            label = resize_label(label, self.label_size)
        return {"index": index, "image": image, "label": label}


class OwnSamples(Dataset[Sample]):
    """Items of any dataset, addressed by an index or by (epoch, index); see `as_samples`."""

    def __init__(self, data: Indexed) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | SampleKey) -> Sample:
        index = key[1] if isinstance(key, tuple) else key
        item = self.data[index]
        if isinstance(item, Mapping) and torch.is_tensor(item.get("pixel_values")):
            label = np.asarray(item["labels"])
            return {"index": index, "pixel_values": item["pixel_values"], "label": label}
        image, label = read_pair(item, f"sample {index}")
        return {"index": index, "image": image, "label": label}


def as_samples(dataset: Dataset | Indexed) -> Dataset:
    """A dataset whose items the trainer's `Collator` accepts.

    Args:
        dataset: one of this package's, or any with a length whose items are an image and a mask
            (see `from_torch`), or a dictionary of the tensors `pixel_values` and `labels`, ready
            for the model.
    """
    ours = (TrainingSamples, EvaluationSamples, OwnSamples, IterableDataset)
    return dataset if isinstance(dataset, ours) else OwnSamples(cast(Indexed, dataset))


def _pairs(data: _Rows) -> _Rows:
    """The rows without their other columns, which would be converted for every sample."""
    return data.select_columns(["image", "label"]) if isinstance(data, datasets.Dataset) else data


def read_example(data: datasets.Dataset, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 and (H, W) uint8 of one row."""
    try:
        row = data[index]
    except (OSError, SyntaxError) as error:
        name = sample_names(data, "the")[index]
        raise UserError(f"{name}: the image can't be read ({error}); replace the file") from error
    return np.array(row["image"]), np.array(row["label"])


def resize_pair(
    image: np.ndarray, label: np.ndarray, processor: SegformerImageProcessor
) -> tuple[np.ndarray, np.ndarray]:
    """Both at the processor's size; the image is resized by the same code as in inference."""
    options = {**whole_image_options(processor), "do_rescale": False, "do_normalize": False}
    resized = np.asarray(processor(image, **options)["pixel_values"][0])
    return np.ascontiguousarray(np.moveaxis(resized, 0, -1)), resize_label(label, resized.shape[1:])


def resize_label(label: np.ndarray, size: Size) -> np.ndarray:
    """Nearest neighbor, pixel centers aligned (torch's `nearest-exact`)."""
    tensor = torch.from_numpy(label)[None, None]
    resized = torch.nn.functional.interpolate(tensor, size=size, mode="nearest-exact")
    return resized[0, 0].numpy()


class Collator:
    """Samples -> a batch with `index`, `pixel_values` and `labels`; `on_device` finishes it.

    Images and masks stay uint8, (B, 3, H, W) and (B, H, W), so that little passes from the workers
    to the device. Samples of several sizes stay lists: padding them to one size would change the
    logits. Masks of other types become int64.

    Args:
        processor: makes `pixel_values` from uint8 images.
        resize: whether the processor may resize (evaluation), or the samples have their size
            already (training).
    """

    def __init__(self, processor: SegformerImageProcessor, resize: bool) -> None:
        self.processor = processor
        self.resize = resize and bool(processor.do_resize)
        self.normalize = not _only_normalizes(processor)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        return {
            # first, and a tensor: transformers reads the batch size from the first tensor it finds
            "index": torch.tensor([sample["index"] for sample in samples]),
            "pixel_values": _stack([self._pixels(sample) for sample in samples]),
            "labels": _stack([_label(sample["label"]) for sample in samples]),
        }

    def _pixels(self, sample: Sample) -> torch.Tensor:
        """(3, H, W): uint8, or float32 from a processor that does more than normalize."""
        if "pixel_values" in sample:
            return sample["pixel_values"]
        if not self.normalize and not self.resize:
            return torch.from_numpy(np.require(sample["image"], None, ["C", "W"])).permute(2, 0, 1)
        options: dict[str, object] = {
            **whole_image_options(self.processor),
            "do_resize": self.resize,
            "input_data_format": "channels_last",
        }
        if not self.normalize:
            options |= {"do_rescale": False, "do_normalize": False}
        # one at a time: Mask2Former's processor pads a list to one size
        return torch.as_tensor(self.processor(sample["image"], **options)["pixel_values"][0])


def on_device(batch: Batch, processor: SegformerImageProcessor) -> Batch:
    """A batch of `Collator`, wherever it lies, as the model needs it: float32 and int64."""

    def normalized(pixels: torch.Tensor) -> torch.Tensor:
        if pixels.dtype != torch.uint8:
            return pixels
        return processor.rescale_and_normalize(
            pixels, processor.do_rescale, processor.rescale_factor, processor.do_normalize,
            tuple(processor.image_mean), tuple(processor.image_std),
        )  # fmt: skip

    pixels, labels = batch["pixel_values"], batch["labels"]
    return {
        **batch,
        "pixel_values": _each(normalized, pixels),
        "labels": _each(torch.Tensor.long, labels),
    }


def _each(function: Callable[[torch.Tensor], torch.Tensor], tensors: Tensors) -> Tensors:
    if isinstance(tensors, torch.Tensor):
        return function(tensors)
    return [function(tensor) for tensor in tensors]


def _only_normalizes(processor: object) -> bool:
    """Whether `rescale_and_normalize` is all that the processor does after resizing: others pad."""
    return type(processor) is SegformerImageProcessor


def _label(label: np.ndarray) -> torch.Tensor:
    dtype = np.uint8 if label.dtype == np.uint8 else np.int64
    return torch.from_numpy(np.require(label, dtype, ["C", "W"]))


def _stack(tensors: list[torch.Tensor]) -> Tensors:
    if all(tensor.shape == tensors[0].shape for tensor in tensors):
        return torch.stack(tensors)
    return tensors
