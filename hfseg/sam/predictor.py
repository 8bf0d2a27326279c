"""`SamPredictor` runs a model of the SAM family: from images and prompts to masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from hfseg.errors import UserError
from hfseg.inference.segmenter import DTYPES
from hfseg.sam.load_sam import load_sam
from hfseg.sam.masks import (
    POINTS_PER_BATCH,
    POINTS_PER_SIDE,
    PRED_IOU_THRESH,
    STABILITY_SCORE_THRESH,
    Box,
    Point,
    Prompt,
    SamMasks,
)

# Upper bound on the logits at full size in memory; 64 points on a 12-megapixel photo would need
# 9 GB.
_FULL_SIZE_VALUES_AT_ONCE = 2**25
_PROMPTS_AT_ONCE = 64

_Rle: TypeAlias = dict[str, list[int]]
"""A mask, run-length encoded by transformers."""


@dataclass(frozen=True, eq=False)
class _Embedded:
    """An encoded image, the input of the mask decoder."""

    key: tuple[tuple[int, int], bytes]
    height: int
    width: int
    fed: tuple[int, int]
    """(height, width) of the image inside the network's input, without padding."""
    embeddings: dict[str, torch.Tensor | list[torch.Tensor]]


class SamPredictor:
    """Predicts masks with a model of the SAM family.

    All coordinates are (x, y) in pixels of the image. The embedding of the last image is cached, so
    that another prompt on it takes milliseconds: only the mask decoder runs.

    Args:
        model: `SamModel`, `SamHQModel`, `Sam2Model` or `EdgeTamModel`. It is set to eval mode and
            stays on its device.
        processor: the processor saved with it.

    Example:
        >>> predictor = SamPredictor.from_pretrained("facebook/sam2.1-hiera-tiny")
        >>> everything = predictor.segment_everything(image)
        >>> dog = predictor.prompt(image, points=[(320, 200), (10, 10)], point_labels=[1, 0])
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        self.model = model.eval()
        self.processor = processor
        self._last: _Embedded | None = None

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> "SamPredictor":
        """Load a folder or a Hub model, and move it to `device` (default: a GPU if available).

        The class follows from the checkpoint's config. Video checkpoints, such as
        `facebook/sam2.1-hiera-tiny`, give their image model.

        Args:
            dtype: `fp32`, `bf16` or `fp16`, or a torch dtype; None: as saved.

        Raises:
            UserError: no model there, not a SAM, or an unknown dtype.
        """
        if isinstance(dtype, str):
            if dtype not in DTYPES:
                raise UserError(f"dtype {dtype!r}: choose from {', '.join(DTYPES)}")
            dtype = DTYPES[dtype]
        model, processor = load_sam(str(model_name_or_path), revision=revision, token=token)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device) if dtype is None else model.to(device, dtype), processor)

    def segment_everything(
        self,
        image: Image.Image,
        *,
        points_per_side: int = POINTS_PER_SIDE,
        points_per_batch: int = POINTS_PER_BATCH,
        pred_iou_thresh: float = PRED_IOU_THRESH,
        stability_score_thresh: float = STABILITY_SCORE_THRESH,
        box_nms_thresh: float = 0.7,
    ) -> SamMasks:
        """Masks of everything in the image, prompted by a grid of single points.

        Equal to transformers' `pipeline("mask-generation")`, except for one bug of it: SAM 2
        resizes images to a square, but the pipeline places the points as if the aspect ratio were
        kept, so that the lower part of a landscape photo gets no points. Here the grid covers the
        complete image. Memory grows with the number of returned masks and with
        `points_per_batch`, not with the number of points.

        Args:
            image: RGB.
            points_per_side: points along each side of the grid.
            points_per_batch: points that pass through the mask decoder at once.
            pred_iou_thresh: masks with a predicted IoU up to this are dropped; 0 keeps all.
            stability_score_thresh: masks with a stability up to this are dropped; 0 keeps all. The
                stability is the ratio of the areas when the threshold on the logits is raised and
                lowered by 1.
            box_nms_thresh: of two masks whose boxes overlap with a larger IoU, the one with the
                smaller predicted IoU is dropped.

        Returns:
            The masks, the largest predicted IoU first; possibly none.

        Raises:
            UserError: `points_per_side` or `points_per_batch` is less than 1.
        """
        if points_per_side < 1 or points_per_batch < 1:
            raise UserError("points_per_side and points_per_batch must be at least 1")
        embedded = self.embed(image)
        height, width = embedded.height, embedded.width
        rles: list[_Rle] = []
        scores, boxes = [torch.zeros(0)], [torch.zeros(0, 4)]
        for points in _point_grid(points_per_side, height, width).split(points_per_batch):
            for found in self._filtered(embedded, points, pred_iou_thresh, stability_score_thresh):
                rles += found[0]
                scores.append(found[1].float().cpu())
                boxes.append(found[2].float().cpu())
        if not rles:
            return SamMasks.empty(height, width)
        masks, kept, *_ = self.processor.image_processor.post_process_for_mask_generation(
            rles, torch.cat(scores), torch.cat(boxes), box_nms_thresh
        )
        return SamMasks(np.stack([np.asarray(mask) for mask in masks]), kept.numpy())

    @torch.inference_mode()
    def _filtered(
        self,
        embedded: _Embedded,
        points: torch.Tensor,
        pred_iou_thresh: float,
        stability_score_thresh: float,
    ) -> list[tuple[list[_Rle], torch.Tensor, torch.Tensor]]:
        """The good masks at these points, in batches: encoded masks, predicted IoU and boxes."""
        full_box = torch.tensor([0.0, 0.0, embedded.width, embedded.height])
        logits, ious = self._decode(embedded, points[:, None], many=True)
        logits, ious = logits.flatten(0, 1), ious.flatten(0, 1)
        if pred_iou_thresh > 0:  # before resizing to full size
            good = ious > pred_iou_thresh
            logits, ious = logits[good], ious[good]
        found, done = [], 0
        for full in self._full_size(logits, embedded):
            found.append(
                self.processor.image_processor.filter_masks(
                    full,
                    ious[done : done + len(full), None],
                    (embedded.height, embedded.width),
                    full_box,
                    pred_iou_thresh,
                    stability_score_thresh,
                )
            )
            done += len(full)
        return found

    def prompt(
        self,
        image: Image.Image,
        *,
        points: Sequence[Point] | None = None,
        point_labels: Sequence[int] | None = None,
        boxes: Sequence[float] | Sequence[Sequence[float]] | None = None,
    ) -> SamMasks:
        """The mask of one object, prompted by all the points and the box together.

        A single point is ambiguous (the shirt or the person?), so SAM proposes three masks, and
        the one with the largest predicted IoU is returned. For several points, or a box, SAM
        gives a single mask, as in its training.

        Args:
            image: RGB.
            points: (x, y) pairs in pixels of the image.
            point_labels: 1 for a point on the object, 0 for one outside it; None: all 1.
            boxes: one box (left, top, right, bottom), or a list of one; for several objects use
                `prompt_each`.

        Returns:
            One mask and its score.

        Raises:
            UserError: coordinates outside the image, or neither points nor a box.
        """
        box: Sequence[object] | None = boxes
        if boxes is not None and len(boxes) and np.ndim(boxes[0]) > 0:
            if len(boxes) > 1:
                raise UserError(
                    f"prompt takes one object, but there are {len(boxes)} boxes: use prompt_each"
                )
            box = cast(Sequence[object], boxes[0])
        points = () if points is None else tuple(points)
        outline = None if box is None else cast(Box, tuple(box))
        request = Prompt(points, tuple(point_labels or ()), outline)
        return self.prompt_each(image, [request])

    def prompt_each(self, image: Image.Image, prompts: Sequence[Prompt]) -> SamMasks:
        """One mask per prompt, in their order, equal to that of `prompt`.

        Prompts of the same kind pass through the mask decoder in batches.

        Raises:
            UserError: coordinates outside the image.
        """
        height, width = image.height, image.width
        for prompt in prompts:
            prompt.check_inside(height, width)
        if not prompts:
            return SamMasks.empty(height, width)
        embedded = self.embed(image)
        masks = np.zeros((len(prompts), height, width), dtype=bool)
        scores = np.zeros(len(prompts), dtype=np.float32)
        # by kind, because padding to a common number of points would change the masks
        kinds: dict[tuple[int, bool], list[int]] = {}
        for index, prompt in enumerate(prompts):
            kinds.setdefault((len(prompt.points), prompt.box is not None), []).append(index)
        for (num_points, has_box), members in kinds.items():
            waiting = iter(members)
            while batch := list(islice(waiting, _PROMPTS_AT_ONCE)):
                chosen = [prompts[index] for index in batch]
                with torch.inference_mode():
                    logits, ious = self._decode(
                        embedded,
                        torch.tensor([p.points for p in chosen]) if num_points else None,
                        torch.tensor([p.point_labels for p in chosen]) if num_points else None,
                        torch.tensor([p.box for p in chosen]) if has_box else None,
                        many=num_points == 1 and not has_box,
                    )
                    rows = torch.arange(len(batch), device=ious.device)
                    best = ious.argmax(dim=1)
                    scores[batch] = ious[rows, best].cpu().numpy()
                    done = 0
                    for full in self._full_size(logits[rows, best], embedded):
                        some = batch[done : done + len(full)]
                        masks[some] = (full[:, 0] > 0).cpu().numpy()
                        done += len(full)
        return SamMasks(masks, scores)

    @torch.inference_mode()
    def embed(self, image: Image.Image) -> _Embedded:
        """Encode an RGB image, unless it is the same as the last one."""
        image = image.convert("RGB")
        key = (image.size, blake2b(image.tobytes()).digest())
        last = self._last
        if last is not None and last.key == key:
            return last
        inputs = self.processor.image_processor(image, return_tensors="pt")
        pixels = inputs["pixel_values"]
        # SAM and SAM-HQ scale the longer side and pad; SAM 2 and EdgeTAM squash to a square
        fed = inputs.get("reshaped_input_sizes", [pixels.shape[-2:]])[0]
        found = self.model.get_image_embeddings(pixels.to(self.model.device, self.model.dtype))
        if isinstance(found, tuple):  # SAM-HQ
            embeddings = {"image_embeddings": found[0], "intermediate_embeddings": found[1]}
        else:
            embeddings = {"image_embeddings": found}
        size = (int(fed[0]), int(fed[1]))
        # don't return `self._last`, which another thread may replace
        embedded = _Embedded(key, image.height, image.width, size, embeddings)
        self._last = embedded
        return embedded

    def _decode(
        self,
        embedded: _Embedded,
        points: torch.Tensor | None = None,
        point_labels: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
        *,
        many: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Low-resolution logits and predicted IoU of N objects.

        Args:
            points: (N, P, 2) float32 (x, y) in pixels of the image.
            point_labels: (N, P); None: all on the object.
            boxes: (N, 4).
            many: three masks per object instead of one.

        Returns:
            (N, M, h, w) float32 and (N, M) float32.
        """
        device = self.model.device
        scale = torch.tensor([embedded.fed[1] / embedded.width, embedded.fed[0] / embedded.height])
        inputs: dict[str, torch.Tensor] = {}
        if points is not None:
            if point_labels is None:
                point_labels = torch.ones(points.shape[:2], dtype=torch.int64)
            inputs["input_points"] = (points * scale)[None].to(device)
            inputs["input_labels"] = point_labels[None].to(device)
        if boxes is not None:
            inputs["input_boxes"] = (boxes * scale.repeat(2))[None].to(device)
        answer = self.model(**embedded.embeddings, **inputs, multimask_output=many)
        return answer.pred_masks[0].float(), answer.iou_scores[0].float()

    def _full_size(self, logits: torch.Tensor, embedded: _Embedded) -> Iterator[torch.Tensor]:
        """(N, h, w) low-resolution logits -> (n, 1, H, W) at the size of the image, in batches."""
        processor = self.processor.image_processor
        padded = getattr(processor, "pad_size", None) or {"height": 0, "width": 0}
        each = max(embedded.height * embedded.width, padded["height"] * padded["width"])
        for part in logits.split(max(1, _FULL_SIZE_VALUES_AT_ONCE // each)):
            if len(part):
                yield processor.post_process_masks(
                    [part[:, None]],
                    [(embedded.height, embedded.width)],
                    reshaped_input_sizes=[embedded.fed],
                    binarize=False,
                )[0]


def _point_grid(points_per_side: int, height: int, width: int) -> torch.Tensor:
    """(points_per_side ** 2, 2) float32 (x, y): the centers of equal cells, row by row."""
    offset = 1 / (2 * points_per_side)
    along = torch.linspace(offset, 1 - offset, points_per_side)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2) * torch.tensor([width, height])
