"""Cityscapes: 34 raw ids, of which 19 are trained and scored and the rest ignored.

Official layout: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` beside `gtFine/SPLIT/CITY/` with
`*_gtFine_labelIds.png`, `*_gtFine_labelTrainIds.png` or `*_gtFine_color.png`. Table:
cityscapesScripts, `helpers/labels.py`. The labels of the test split are not public.
"""

from pathlib import Path

from hfseg.data.info import DatasetInfo, HubSource
from hfseg.data.masks import MaskDecoder
from hfseg.data.pairs import Pair, Reading
from hfseg.data.readers import ReadOptions
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

INFO = DatasetInfo(
    name="cityscapes",
    title="Cityscapes",
    license="other",
    license_note="Cityscapes' own terms: for non-commercial use such as research and teaching; "
    "the data may not be passed on",
    homepage="https://www.cityscapes-dataset.com",
    citation="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, "
    "CVPR 2016",
    hub=(
        HubSource("Chris1/cityscapes", "image", "semantic_segmentation"),
        HubSource("Chris1/cityscapes_segmentation", "image", "semantic_segmentation"),
    ),
    splits="the official train and val; test is left out, its labels are not public",
    hidden_test=True,
)
# (raw id, name, color) of the 19 trained classes, in the order of their train ids
_TRAINED: tuple[tuple[int, str, Color], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
# The ignored colors. The pole group has the pole's color and the license plate the car's: in color
# masks these two count as pole and car.
_IGNORED_COLORS: tuple[Color, ...] = (
    (0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180),
    (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110),
)  # fmt: skip
_RAW_IDS = 34
_SPLITS = {"train": "train", "validation": "val"}
_ENCODINGS = ("labelIds", "labelTrainIds", "color")


def labels(
    label_mode: str | None = None, encoding: str = "labelIds"
) -> tuple[LabelSet, MaskDecoder]:
    """The 19 classes, and the decoder of one of the three encodings (colors always work)."""
    label_set = LabelSet(
        tuple(name for _, name, _ in _TRAINED), tuple(color for _, _, color in _TRAINED)
    )
    if encoding == "labelTrainIds":
        ids = {index: index for index in range(len(_TRAINED))}
    else:
        ids = dict.fromkeys(range(_RAW_IDS), IGNORE_INDEX)
        ids |= {raw: index for index, (raw, _, _) in enumerate(_TRAINED)}
    return label_set, MaskDecoder.for_labels(label_set, ids=ids, ignored_colors=_IGNORED_COLORS)


def read(folder: Path, options: ReadOptions) -> Reading:
    """The pairs of a Cityscapes folder; of the three encodings the first that is whole is read."""
    images = {
        split: sorted((folder / "leftImg8bit" / name).glob("*/*_leftImg8bit.png"))
        for split, name in _SPLITS.items()
    }
    images = {split: files for split, files in images.items() if files}
    if not images:
        raise UserError(
            f"{folder}: it has no leftImg8bit/train/CITY/*_leftImg8bit.png; "
            "give the folder that contains leftImg8bit/ and gtFine/"
        )
    every = [file for files in images.values() for file in files]
    complete = [e for e in _ENCODINGS if all(_mask(folder, file, e).is_file() for file in every)]
    encoding = complete[0] if complete else _ENCODINGS[0]  # its missing files are reported
    splits = {
        split: [Pair(str(file), str(_mask(folder, file, encoding))) for file in files]
        for split, files in images.items()
    }
    return Reading(splits, *labels(encoding=encoding))


def _mask(folder: Path, image: Path, encoding: str) -> Path:
    stem = image.name.removesuffix("_leftImg8bit.png")
    city = image.parent
    return folder / "gtFine" / city.parent.name / city.name / f"{stem}_gtFine_{encoding}.png"
