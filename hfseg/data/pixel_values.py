"""How image processors are asked for what a model is fed."""

from typing import Any


def whole_image_options(processor: Any) -> dict[str, Any]:
    """Options by which a processor gives the whole image, as the model is fed.

    A center crop, which some processors of the Hub (MobileViT's) inherited from classification, is
    left out: the logits of a crop, stretched over the whole image, lie beside the objects. EoMT
    cuts its windows itself, out of the image scaled by its shorter side.
    """
    options: dict[str, Any] = {}
    if getattr(processor, "do_center_crop", None):
        options["do_center_crop"] = False
    if hasattr(processor, "do_split_image"):
        options |= {"do_split_image": False, "do_pad": False}
        if side := dict(processor.size).get("shortest_edge"):
            options["size"] = {"shortest_edge": side}
    return options
