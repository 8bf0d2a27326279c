"""`Segmenter`: a trained model and its image processor, from images to masks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from itertools import islice
from pathlib import Path
from typing import Unpack, overload

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel

from hfseg.data.image_io import ImageLike, image_files, read_ahead, to_rgb
from hfseg.errors import UserError
from hfseg.inference.load_checkpoint import load_trained
from hfseg.inference.network import ImageProcessor, Pixels, check_processor, network_of
from hfseg.inference.result import Answer, Options, PredictionOptions, Segmentation
from hfseg.inference.sliding_window import Size, sliding_window
from hfseg.inference.views import Views
from hfseg.labels import LabelSet
from hfseg.models.confidence import log_scores, temperature_of
from hfseg.models.convolutions import is_convolutional
from hfseg.models.logits import resize_logits
from hfseg.models.small_images import accept_small_images
from hfseg.models.universal import act_as_semantic

# Upper bound on the resized logits held at once. 150 classes of a 12-megapixel photo would be 7 GB.
_RESIZED_VALUES_AT_ONCE = 2**26
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Segmenter:
    """Segments images with a segmentation model of `transformers`.

    The same rule for pixels as in evaluation: the model's image processor makes `pixel_values` from
    the complete image, the logits are resized bilinearly (`align_corners=False`) to the image's own
    size, and every pixel gets the class of its largest logit. Images of different sizes are never
    padded together, so the results for a list equal those for its images one at a time.

    Args:
        model: a model that returns `logits` of shape (N, C, h, w), or a universal one
            (Mask2Former, OneFormer, EoMT). It is put into eval mode and stays on its device.
        image_processor: the image processor saved with it.

    Example:
        >>> segmenter = Segmenter.from_pretrained("runs/quickstart")
        >>> segmenter("street.jpg").overlay().save("overlay.png")
        >>> for result in segmenter("photos/"):
        ...     print(result.source, result.mask.shape)
    """

    def __init__(self, model: PreTrainedModel, image_processor: ImageProcessor) -> None:
        act_as_semantic(model)
        accept_small_images(model)
        self.model = model.eval()
        self.image_processor = image_processor
        self.labels = LabelSet.from_config(model.config)
        self._network = network_of(model, image_processor)

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        trust_remote_code: bool = False,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        compile: bool = False,
    ) -> "Segmenter":
        """Load a model folder or a model of the Hub, and move it to `device` (a GPU if any).

        On a CPU purely convolutional networks use the channels-last layout, which is faster there
        and changes logits only by rounding:
        https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html

        Args:
            dtype: `bf16` or `fp16` halve the size of weights and activations; faster on GPUs, and
                bf16 on CPUs that support it (AVX512-BF16, AMX).
            compile: `torch.compile` the model; worth it for many images of few sizes. Each size
                takes about a minute once; past eight the rest run as they would without.

        Raises:
            UserError: nothing there, not a segmentation checkpoint, or an unknown dtype.
        """
        if isinstance(dtype, str):
            if dtype not in DTYPES:
                raise UserError(f"dtype {dtype!r}: choose from {', '.join(DTYPES)}")
            dtype = DTYPES[dtype]
        model, image_processor = load_trained(
            str(model_name_or_path),
            revision=revision,
            token=token,
            trust_remote_code=trust_remote_code,
        )
        check_processor(image_processor, str(model_name_or_path))
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model = model.to(device) if dtype is None else model.to(device, dtype)
        if model.device.type == "cpu" and is_convolutional(model):
            model = model.to(memory_format=torch.channels_last)
        if compile:
            # with sizes left open MobileNetV2, which pads by them, was not done in ten minutes
            model.compile(dynamic=False)
        return cls(model, image_processor)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence, too
        self, images: ImageLike, **options: Unpack[PredictionOptions]
    ) -> Segmentation: ...

    @overload
    def __call__(
        self, images: Sequence[ImageLike], **options: Unpack[PredictionOptions]
    ) -> list[Segmentation]: ...

    @overload
    def __call__(
        self, images: Iterator[ImageLike], **options: Unpack[PredictionOptions]
    ) -> Iterator[Segmentation]: ...

    @overload
    def __call__(
        self, images: Iterable[ImageLike], **options: Unpack[PredictionOptions]
    ) -> Iterable[Segmentation]: ...

    def __call__(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        sliding_window: int | Size | None = None,
        stride: int | Size | None = None,
        tta: str | Views | None = None,
        batch_size: int = 1,
        return_probabilities: bool = False,
        return_confidence: bool = False,
    ) -> Segmentation | Iterable[Segmentation]:
        """Segment one image, or a list, folder or generator of images of any sizes.

        Args:
            images: a PIL image, a (H, W, 3) uint8 array, a path, or an http(s) address (see
                `hfseg.data.image_io.to_rgb` for what is read and how), or a list, folder or
                generator of them.
            sliding_window: predict in overlapping tiles of this many pixels (or (height, width)),
                at the image's own scale, even if the processor resizes images. Images may have any
                size, beyond Pillow's limit of 179 million pixels too (give only files that you
                trust). Beside the image and its mask, memory grows only with the tile and the
                image's width.
            stride: maximum step between tiles; None: three quarters of the tile.
            tta: views whose probabilities are averaged, such as `flip,0.75,1.0,1.25`.
            batch_size: images of one size that pass through the model together. More are faster on
                GPUs; scores may then differ in the last digit.
            return_probabilities: also return the (C, H, W) float32 probabilities.
            return_confidence: also return the (H, W) float32 probability of the predicted class.
                Both are at the temperature that `--calibrate` saved, which changes no mask.

        Returns:
            A `Segmentation` for one image, a list of them for a list, and for a folder (in the
            order of its names) or a generator an iterator that reads as it goes.

        Raises:
            UserError: something in `images` is not an image, or an option is invalid.
        """
        options = Options.make(sliding_window, stride, tta, return_probabilities, return_confidence)
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, not {batch_size}")
        if isinstance(images, torch.Tensor):
            raise UserError(
                "images must be PIL images, arrays or paths, not a tensor: the image processor "
                "makes the tensors; for an (H, W, 3) uint8 tensor, give tensor.numpy()"
            )
        if isinstance(images, (list, tuple)):
            return list(self._stream(images, options, batch_size))
        if isinstance(images, (str, Path)) and Path(images).is_dir():
            return self._stream(image_files(images), options, batch_size)
        if isinstance(images, (str, Path, np.ndarray, Image.Image)) or not isinstance(
            images, Iterable
        ):
            return self.segment(_reader(options)(images), options, source=_source(images))
        return self._stream(images, options, batch_size)

    def _stream(
        self, images: Iterable[ImageLike], options: Options, batch_size: int
    ) -> Iterator[Segmentation]:
        waiting = read_ahead(images, _reader(options))
        while batch := [
            (result(), _source(image)) for image, result in islice(waiting, batch_size)
        ]:
            yield from self._segment_batch(batch, options)

    def _segment_batch(
        self, batch: list[tuple[Image.Image, str | None]], options: Options
    ) -> list[Segmentation]:
        if len(batch) == 1 or options.window is not None:
            return [self.segment(image, options, source=source) for image, source in batch]
        groups: dict[tuple[Size, torch.Size], list[tuple[int, Pixels]]] = {}
        answers: dict[int, Segmentation] = {}
        for index, (image, _) in enumerate(batch):
            inputs = self._network.inputs(image, whole=True)
            if isinstance(inputs, Pixels):
                groups.setdefault((image.size, inputs.values.shape), []).append((index, inputs))
            else:
                answers[index] = self._segment([image], options, inputs)[0]
        for group in groups.values():
            rows, parts = zip(*group, strict=True)
            images = [batch[row][0] for row in rows]
            found = self._segment(images, options, Pixels.batch(parts))
            answers |= dict(zip(rows, found, strict=True))
        return [_with_source(answers[index], source) for index, (_, source) in enumerate(batch)]

    def segment(
        self,
        image: Image.Image,
        options: Options,
        size: Size | None = None,
        source: str | None = None,
        on_tile: Callable[[], object] | None = None,
    ) -> Segmentation:
        """One upright RGB image; the mask at `size` if that is not the image's own.

        Args:
            on_tile: called after every tile of a sliding window.
        """
        answer = self._segment([image], options, size=size, on_tile=on_tile)[0]
        return _with_source(answer, source)

    @torch.inference_mode()
    def _segment(
        self,
        images: list[Image.Image],
        options: Options,
        inputs: Pixels | Image.Image | None = None,
        size: Size | None = None,
        on_tile: Callable[[], object] | None = None,
    ) -> list[Segmentation]:
        """Images of one size, in one forward pass where there are several."""
        own = (images[0].height, images[0].width)
        if options.window is not None:
            if size not in (None, own):
                raise UserError(
                    f"a sliding window gives a mask of the image's own size {own}, not {size}"
                )
            return [self._segment_in_tiles(image, options, on_tile) for image in images]
        size = size or own
        if inputs is None:
            inputs = self._network.inputs(images[0], whole=True)
        logits = None
        if not (options.views or options.probabilities):
            logits = self._network.logits(inputs)
        if logits is not None:
            ids, confidence = self._resized_answer(logits, size, options.confidence)
            return [
                Segmentation(mask, self.labels, image, confidence=sure)
                for mask, sure, image in zip(ids, confidence, images, strict=True)
            ]
        found = []
        for image, scores in zip(
            images, self._network.scores(inputs, size, options.views), strict=True
        ):
            answer = Answer(size, len(self.labels), options)
            answer.put(slice(None), slice(None), scores, self._network)
            found.append(answer.finished(self.labels, image))
        return found

    def _resized_answer(
        self, logits: torch.Tensor, size: Size, with_confidence: bool
    ) -> tuple[np.ndarray, Sequence[np.ndarray | None]]:
        """(N, H, W) uint8 ids and, if asked for, float32 confidences, in bounded memory."""
        ids, best = resized_argmax(logits, size)
        masks = ids.to(torch.uint8).cpu().numpy()
        if not with_confidence:
            return masks, [None] * len(masks)
        temperature = temperature_of(self.model)
        total = resized_logsumexp(
            logits, size, lambda part: log_scores(self.model, part) / temperature
        )
        confidence = (log_scores(self.model, best) / temperature - total).exp()
        return masks, list(confidence.cpu().numpy())

    def _segment_in_tiles(
        self, image: Image.Image, options: Options, on_tile: Callable[[], object] | None
    ) -> Segmentation:
        assert options.window is not None and options.stride is not None
        size = (image.height, image.width)
        answer = Answer(size, len(self.labels), options)

        def scores_of(box: tuple[int, int, int, int]) -> torch.Tensor:
            top, left, bottom, right = box
            tile = image.crop((left, top, right, bottom))
            inputs = self._network.inputs(tile, whole=False)
            return self._network.scores(inputs, (bottom - top, right - left), options.views)[0]

        for rows, columns, scores in sliding_window(
            scores_of, size, options.window, options.stride
        ):
            answer.put(rows, columns, scores, self._network)
            if on_tile is not None:
                on_tile()
        return answer.finished(self.labels, image)


def _reader(options: Options) -> Callable[[ImageLike], Image.Image]:
    return partial(to_rgb, any_size=options.window is not None)


def _source(image: ImageLike) -> str | None:
    return str(image) if isinstance(image, (str, Path)) else None


def _with_source(answer: Segmentation, source: str | None) -> Segmentation:
    return answer if source is None else replace(answer, source=source)


def resized_argmax(
    logits: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of `resize_logits(logits, size)` at each pixel, in bounded memory.

    Channels are resized independently of each other, so a few classes at a time give the same
    numbers; of equal logits the smallest id wins.

    Returns:
        (N, H, W) int64 ids, and their (N, H, W) logits.
    """
    largest, ids = None, None
    for start, part in _resized_parts(logits, size):
        value, index = part.max(dim=1)
        if largest is None or ids is None:
            largest, ids = value, index
            continue
        larger = value > largest
        largest = torch.where(larger, value, largest)
        ids = torch.where(larger, index + start, ids)
    assert ids is not None and largest is not None
    return ids, largest


def resized_logsumexp(
    logits: torch.Tensor,
    size: tuple[int, int],
    scaled: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """`scaled(resize_logits(logits, size)).logsumexp(1)`, (N, H, W), in bounded memory."""
    parts = (scaled(part).logsumexp(1) for _, part in _resized_parts(logits, size))
    return reduce(torch.logaddexp, parts)


def _resized_parts(
    logits: torch.Tensor, size: tuple[int, int]
) -> Iterator[tuple[int, torch.Tensor]]:
    """The logits of a few classes at a time, resized, each with its first class."""
    count, classes = logits.shape[:2]
    step = max(1, _RESIZED_VALUES_AT_ONCE // (count * size[0] * size[1]))
    for start in range(0, classes, step):
        yield start, resize_logits(logits[:, start : start + step], size)
