"""SAM 3 asked for each class by its name: semantic segmentation without training.

Carion et al. 2025 (https://arxiv.org/abs/2511.16719). Two protocols, both from one forward pass
per class:

- instances: every instance found is painted with its class, the best score on top;
- semantic: a pixel takes the class with the largest semantic probability times presence.

What no class reaches by the threshold is background where the dataset has such a class, and
unlabeled (counted as wrong) where it has none.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import yaml
from PIL import Image

from hfseg.errors import UNREADABLE, UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.labels import LabelSet, plain_name
from hfseg.models.loading import first_line, quiet_transformers
from hfseg.models.logits import resize_logits

# A checkpoint for videos holds the image model and a tracker beside it, which is left out.
_FAMILY = {
    "sam3": "Sam3Model", "sam3_video": "Sam3Model", "sam3_lite_text": "Sam3LiteTextModel",
}  # fmt: skip
_EXAMPLE = "facebook/sam3"
INSTANCE_THRESHOLD = 0.3
"""Scores above it count, as in `Sam3Processor.post_process_instance_segmentation`."""
MASK_THRESHOLD = 0.5
"""Probabilities above it are inside, as in both post-processings of `Sam3Processor`."""


@dataclass(frozen=True, eq=False)
class NamedAnswer:
    """What SAM 3 finds of all classes in one image.

    Attributes:
        instances, semantic: (H, W) int64 ids of the dataset by each protocol; `len(labels)` where
            nothing was found and there is no background.
        masks: (N, H, W) bool, the instances.
        confidence: (H, W) float32, the score of the class in `semantic`; where nothing was found,
            1 minus the highest score of a class.
    """

    instances: np.ndarray
    semantic: np.ndarray
    masks: np.ndarray
    confidence: np.ndarray


class ClassPrompter:
    """A SAM 3 and the classes it looks for.

    Args:
        model, processor: `Sam3Model` or `Sam3LiteTextModel`, and `Sam3Processor`.
        labels: of the dataset; a class named background is not asked for.
        prompts: class name -> what is asked instead of it.
    """

    def __init__(
        self, model: Any, processor: Any, labels: LabelSet, prompts: dict[str, str] | None = None
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        plain = [plain_name(name) for name in labels.names]
        self.background = plain.index("background") if "background" in plain else len(labels)
        self.ids = [index for index in range(len(labels)) if index != self.background]
        asked = {**{name: name for name in labels.names}, **(prompts or {})}
        self.texts = [asked[labels.names[index]].replace("_", " ") for index in self.ids]
        self._text = self._embed_texts()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        labels: LabelSet,
        prompts: dict[str, str] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "ClassPrompter":
        """With the model that `load_sam3` loads; errors as there."""
        return cls(*load_sam3(name_or_path, dtype), labels, prompts)

    @torch.inference_mode()
    def _embed_texts(self) -> list[tuple[Any, torch.Tensor]]:
        """Text features and attention mask of each class, once."""
        found = []
        for text in self.texts:
            tokens = self.processor(text=text, return_tensors="pt").to(self.model.device)
            tokens = {name: tokens[name] for name in ("input_ids", "attention_mask")}
            found.append((self.model.get_text_features(**tokens), tokens["attention_mask"]))
        return found

    @torch.inference_mode()
    def segment(self, image: Image.Image) -> NamedAnswer:
        """Both protocols; the features of the image are computed once."""
        size = (image.height, image.width)
        pixels = self.processor(images=image, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self.model.device, self.model.dtype)
        vision = self.model.get_vision_features(pixel_values=pixels)
        best = torch.zeros(size, device=self.model.device)
        semantic = torch.full(size, self.background, device=self.model.device)
        pieces: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for index, (text, mask) in zip(self.ids, self._text, strict=True):
            output = self.model(vision_embeds=vision, text_embeds=text, attention_mask=mask)
            presence = output.presence_logits.float().sigmoid()[0]
            probability = resize_logits(output.semantic_seg.float().sigmoid(), size)[0, 0]
            score = probability * presence
            semantic = torch.where(score > best.clamp_min(MASK_THRESHOLD), index, semantic)
            best = torch.maximum(score, best)
            scores = output.pred_logits.float().sigmoid()[0] * presence
            kept = scores > INSTANCE_THRESHOLD
            masks = output.pred_masks.float()[:, kept[: output.pred_masks.shape[1]]].sigmoid()
            if masks.shape[1]:
                inside = resize_logits(masks, size)[0] > MASK_THRESHOLD
                pieces.append((scores[kept], inside, torch.full_like(scores[kept], index).long()))
        instances, everything = self._paint(pieces, size)
        confidence = torch.where(semantic == self.background, 1 - best, best)
        return NamedAnswer(instances, semantic.cpu().numpy(), everything, confidence.cpu().numpy())

    def _paint(
        self, pieces: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Instances from the worst to the best, each over the ones before."""
        painted = torch.full(size, self.background, device=self.model.device)
        if not pieces:
            return painted.cpu().numpy(), np.zeros((0, *size), dtype=bool)
        scores, masks, classes = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        for position in scores.argsort().tolist():
            painted[masks[position]] = classes[position]
        return painted.cpu().numpy(), masks.cpu().numpy()


def load_sam3(name_or_path: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Model and processor from a folder or Hub id, on a GPU where there is one.

    Raises:
        UserError: nothing there, or not a SAM 3.
    """
    if not Path(name_or_path).is_dir():
        work_offline_without_network()
    try:
        config = transformers.AutoConfig.from_pretrained(name_or_path)
        kind = _FAMILY.get(config.model_type)
        if kind is None:
            raise UserError(
                f"--sam3 {name_or_path} is a {config.model_type!r} model: give a SAM 3 such as "
                f"{_EXAMPLE}"
            )
        with quiet_transformers():
            model = getattr(transformers, kind).from_pretrained(name_or_path, dtype=dtype)
            processor = transformers.Sam3Processor.from_pretrained(name_or_path)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"--sam3 {name_or_path} can't be loaded ({first_line(error)}): give the folder or "
            f"Hub id of a SAM 3 such as {_EXAMPLE}"
        ) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), processor


def read_class_prompts(path: str | Path, labels: LabelSet) -> dict[str, str]:
    """`--class_prompts FILE`: JSON or YAML of `class: prompt`.

    Raises:
        UserError: no such file, not a mapping of texts, or a class the dataset doesn't have.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = json.loads(text) if Path(path).suffix == ".json" else yaml.safe_load(text)
    except (OSError, *UNREADABLE) as error:
        raise UserError(f"--class_prompts {path}: can't be read ({first_line(error)})") from error
    if not isinstance(values, dict) or not all(isinstance(each, str) for each in values.values()):
        raise UserError(f"--class_prompts {path}: expected lines of `class: prompt`")
    known = {plain_name(name): name for name in labels.names}
    for name in values:
        if plain_name(name) not in known:
            raise UserError(
                f"--class_prompts {path}: the dataset has no class {str(name)!r}; it has "
                + ", ".join(labels.names)
            )
    return {known[plain_name(name)]: text for name, text in values.items()}
