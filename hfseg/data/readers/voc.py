"""PASCAL VOC 2012 segmentation: 21 classes, 255 for the void border around objects.

Official layout: `VOCdevkit/VOC2012/{JPEGImages, SegmentationClass, ImageSets/Segmentation}`, masks
as palette PNG. With `SegmentationClassAug/` (the masks of Hariharan et al. 2011, "Semantic
contours from inverse detectors") the training split is `trainaug`: the list of that name if there
is one, otherwise every mask there that is not in the validation list.
"""

from pathlib import Path

from hfseg.data.info import DatasetInfo, HubSource
from hfseg.data.masks import MaskDecoder
from hfseg.data.pairs import Pair, Reading, read_list
from hfseg.data.readers import ReadOptions
from hfseg.errors import UserError
from hfseg.labels import Color, LabelSet

INFO = DatasetInfo(
    name="voc",
    title="PASCAL VOC 2012 segmentation",
    license="other",
    license_note="the images come from Flickr and are under Flickr's terms of use",
    homepage="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    citation="Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, "
    "IJCV 2015",
    hub=(
        HubSource("nateraw/pascal-voc-2012", "image", "mask"),
        HubSource("shijli/voc2012", "image", "mask", config="segmentation"),
        HubSource("shijli/voc2012", "image", "mask", config="segmentation_aug"),
    ),
    splits="the official train and val lists",
)
NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
VOID_COLOR: Color = (224, 224, 192)
_AUG_LISTS = ("trainaug.txt", "train_aug.txt")


def voc_color(index: int) -> Color:
    """The development kit's color of an id: its bits, dealt in turn to red, green and blue."""
    red = green = blue = 0
    for bit in range(8):
        red |= (index >> 3 * bit & 1) << (7 - bit)
        green |= (index >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (index >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue


def labels(label_mode: str | None = None) -> tuple[LabelSet, MaskDecoder]:
    label_set = LabelSet(NAMES, tuple(voc_color(index) for index in range(len(NAMES))))
    return label_set, MaskDecoder.for_labels(label_set, ignored_colors=(VOID_COLOR,))


def read(folder: Path, options: ReadOptions) -> Reading:
    """The pairs of a VOCdevkit, its `VOC2012` or a folder of that shape."""
    root = next(
        (p for p in (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012")
         if (p / "ImageSets" / "Segmentation").is_dir()),
        None,
    )  # fmt: skip
    if root is None:
        raise UserError(
            f"{folder}: it has no ImageSets/Segmentation; give the VOCdevkit or its VOC2012 folder"
        )
    lists = root / "ImageSets" / "Segmentation"
    names = {
        split: read_list(lists / file)
        for split, file in (("train", "train.txt"), ("validation", "val.txt"))
    }
    folders = dict.fromkeys(names, root / "SegmentationClass")
    augmented = root / "SegmentationClassAug"
    if augmented.is_dir():
        folders["train"] = augmented
        listed = next((lists / name for name in _AUG_LISTS if (lists / name).is_file()), None)
        held_out = set(names["validation"])
        names["train"] = [
            name
            for name in (
                read_list(listed) if listed else sorted(p.stem for p in augmented.glob("*.png"))
            )
            if name not in held_out
        ]
    splits = {
        split: [
            Pair(str(root / "JPEGImages" / f"{name}.jpg"), str(folders[split] / f"{name}.png"))
            for name in members
        ]
        for split, members in names.items()
    }
    return Reading(splits, *labels())
