"""Oxford-IIIT Pets: a trimap of pet, background and the border between them.

Official layout: `images/NAME.jpg`, `annotations/trimaps/NAME.png` (1 pet, 2 background, 3 border)
and `annotations/{trainval,test}.txt`. The published lists have no validation split, so every tenth
name of trainval is in it, as in segmentation_models_pytorch's `SimpleOxfordPetDataset`; the test
list is used as published.
"""

from pathlib import Path
from typing import TypeVar

from hfseg.data.info import DatasetInfo, HubSource
from hfseg.data.masks import MaskDecoder
from hfseg.data.pairs import Pair, Reading, read_list
from hfseg.data.readers import ReadOptions
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, LabelSet

Item = TypeVar("Item")

INFO = DatasetInfo(
    name="pets",
    title="Oxford-IIIT Pet",
    license="cc-by-sa-4.0",
    license_note="CC BY-SA 4.0; the images keep their owners' copyright",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    citation="Parkhi et al., Cats and Dogs, CVPR 2012",
    label_modes=("trimap", "binary"),
    hub=(HubSource("dpdl-benchmark/oxford_iiit_pet", "image", "segmentation_mask"),),
    splits="trainval without every tenth name, those as validation, and the published test list",
)
_PET, _BACKGROUND, _BORDER = 1, 2, 3


def labels(label_mode: str | None = None) -> tuple[LabelSet, MaskDecoder]:
    """`trimap`: pet, background, border. `binary`: background, pet; the border is ignored."""
    if label_mode == "binary":
        label_set = LabelSet(("background", "pet"), ((60, 60, 60), (230, 159, 0)))
        ids = {_PET: 1, _BACKGROUND: 0, _BORDER: IGNORE_INDEX}
    else:
        label_set = LabelSet(
            ("pet", "background", "border"), ((230, 159, 0), (60, 60, 60), (86, 180, 233))
        )
        ids = {_PET: 0, _BACKGROUND: 1, _BORDER: 2}
    return label_set, MaskDecoder.for_labels(label_set, ids=ids)


def read(folder: Path, options: ReadOptions) -> Reading:
    """The pairs of the folder that holds `images/` and `annotations/`."""
    annotations = folder / "annotations"
    if not (annotations / "trimaps").is_dir():
        raise UserError(
            f"{folder}: no annotations/trimaps in it; give the folder with images/ and annotations/"
        )

    def pairs(file: str) -> list[Pair]:
        names = [line.split()[0] for line in read_list(annotations / file)]
        return [
            Pair(
                str(folder / "images" / f"{name}.jpg"), str(annotations / "trimaps" / f"{name}.png")
            )
            for name in names
        ]

    splits = divide({"train": pairs("trainval.txt"), "test": pairs("test.txt")})
    return Reading(splits, *labels(options.label_mode))


def divide(splits: dict[str, list[Item]]) -> dict[str, list[Item]]:
    """The published two splits -> train, validation (every tenth of trainval) and test."""
    trainval = splits["train"]
    return {
        "train": [item for index, item in enumerate(trainval) if index % 10],
        "validation": trainval[::10],
        "test": splits["test"],
    }
