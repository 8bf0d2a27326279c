"""The models that `hfseg models` lists, with the size and cost in `costs.csv`.

python -m hfseg.models.listing   # counts again, after a model was added or changed
"""

import csv
from pathlib import Path

from hfseg.models.catalog import NAMED_MODELS
from hfseg.models.cost import ModelCost, measure
from hfseg.progress import track

COSTS = Path(__file__).with_name("costs.csv")

# each architecture of segmentation_models_pytorch, with common encoders
EXAMPLES = (
    "deeplabv3-resnet50", "deeplabv3-resnet101", "deeplabv3plus-resnet50",
    "deeplabv3plus-resnet101", "fcn-resnet50", "fcn-resnet101", "unet-resnet34",
    "unet-resnet50", "unet-efficientnet-b0", "unet-tu-efficientnet_lite0", "unet-mit_b0",
    "unetplusplus-resnet34",
    "pspnet-resnet50", "fpn-resnet50", "linknet-resnet34", "manet-resnet34", "pan-resnet50",
    "segformer-resnet50", "dpt-tu-vit_base_patch16_224.augreg_in21k",
)  # fmt: skip
LISTED = (*NAMED_MODELS, *EXAMPLES)


def cost_of(name: str) -> ModelCost:
    """From the table, which is instant, or counted."""
    with COSTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["name"] == name:
                return ModelCost(int(row["parameters"]), int(row["macs"]))
    return measure(name)


def write_costs() -> None:
    """Count every listed model again."""
    counted = {name: measure(name) for name in track(LISTED, "counting", unit="models")}
    with COSTS.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("name", "parameters", "macs"))
        rows.writerows((name, cost.parameters, cost.macs) for name, cost in counted.items())


if __name__ == "__main__":
    write_costs()
