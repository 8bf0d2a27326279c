"""The options with which image processors are called."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers.image_processing_utils import BaseImageProcessor


def whole_image_options(processor: "BaseImageProcessor") -> dict[str, bool | dict[str, int]]:
    """Options with which a processor keeps the complete image.

    A center crop, which some processors of the Hub (MobileViT's) inherited from classification, is
    disabled: the logits of a crop, stretched over the image, would miss the objects. EoMT cuts its
    windows itself, from the image scaled by its shorter side.
    """
    options: dict[str, bool | dict[str, int]] = {}
    if getattr(processor, "do_center_crop", None):
        options["do_center_crop"] = False
    if hasattr(processor, "do_split_image"):
        options |= {"do_split_image": False, "do_pad": False}
        if side := dict(processor.size).get("shortest_edge"):
            options["size"] = {"shortest_edge": side}
    return options
