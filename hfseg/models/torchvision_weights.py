"""torchvision's FCN and DeepLabV3 weights, in our models.

Source of the names: `fcn_resnet50` and `deeplabv3_resnet50` of `torchvision.models.segmentation`.
"""

import re
from collections.abc import Mapping

import torch

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models.adopt import write_labels
from hfseg.models.configuration_smp import SmpConfig
from hfseg.models.modeling_smp import SmpForSemanticSegmentation

_ENCODERS = {6: "resnet50", 23: "resnet101"}  # by the blocks of layer3
_RENAMES = {
    "fcn": (
        (r"classifier\.([01])\.", r"decoder.\1."),
        (r"classifier\.4\.", "segmentation_head."),
    ),
    "deeplabv3": (
        (r"classifier\.0\.", "decoder.aspp."),
        (r"classifier\.1\.", "decoder.conv."),
        (r"classifier\.2\.", "decoder.bn."),
        (r"classifier\.4\.", "segmentation_head.0."),
    ),
    "both": (
        (r"backbone\.", "encoder."),
        (r"aux_classifier\.([01])\.", r"auxiliary_head.decoder.\1."),
        (r"aux_classifier\.4\.", "auxiliary_head.classifier."),
    ),
}


def from_torchvision(
    state_dict: Mapping[str, torch.Tensor], labels: LabelSet | None = None
) -> SmpForSemanticSegmentation:
    """A model that computes the same logits as torchvision's with this state dict.

    Args:
        state_dict: of `fcn_resnet50`, `fcn_resnet101`, `deeplabv3_resnet50` or
            `deeplabv3_resnet101`, with or without the auxiliary classifier.
        labels: its classes.

    Raises:
        UserError: the state dict of another model, or a wrong number of labels.
    """
    names = set(state_dict)
    blocks = {name.split(".")[2] for name in names if name.startswith("backbone.layer3.")}
    if len(blocks) not in _ENCODERS or "classifier.4.bias" not in names:
        raise UserError(
            "this is not the state dict of torchvision's fcn_resnet50/101 or "
            "deeplabv3_resnet50/101 (it lacks backbone.layer3 or classifier.4); give one of theirs"
        )
    count = len(state_dict["classifier.4.bias"])
    if labels is not None and len(labels) != count:
        raise UserError(
            f"the weights have {count} classes, but there are {len(labels)} labels: give {count}"
        )
    architecture = "deeplabv3" if "classifier.0.project.0.weight" in names else "fcn"
    config = SmpConfig(
        architecture=architecture,
        encoder_name=_ENCODERS[len(blocks)],
        torchvision_style=True,
        use_auxiliary_head="aux_classifier.4.bias" in names,
        num_labels=count,
    )
    if labels is not None:
        write_labels(config, labels)
    model = SmpForSemanticSegmentation(config)
    renames = _RENAMES[architecture] + _RENAMES["both"]
    model.load_state_dict({_rename(name, renames): state_dict[name] for name in names})
    return model.eval()


def _rename(name: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renames:
        if re.match(pattern, name):
            return re.sub("^" + pattern, replacement, name)
    return name
