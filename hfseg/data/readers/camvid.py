"""CamVid: 32 names, of which Void is ignored, or the commonly used 11 groups of them.

Supported layouts: one folder of `NAME.png` and `NAME_L.png` (RGB), two folders such as
`701_StillsRaw_full/` and `LabeledApproved_full/`, split folders `train/ train_labels/ val/ ...`,
and SegNet's `train/ trainannot/ val/ valannot/ test/ testannot/` whose masks have the 11 groups
as ids. Without split folders the frames are divided in order of their names, that is by sequence
and time.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hfseg.data.class_tables import read_label_colors
from hfseg.data.info import DatasetInfo
from hfseg.data.masks import MaskDecoder
from hfseg.data.pairs import Pair, Reading, list_images, pair_by_stem
from hfseg.data.readers import ReadOptions
from hfseg.data.splits import SPLIT_ALIASES, WHOLE
from hfseg.errors import UserError
from hfseg.labels import IGNORE_INDEX, Color, LabelSet

INFO = DatasetInfo(
    name="camvid",
    title="CamVid, the Cambridge-driving Labeled Video Database",
    license="other",
    license_note="CamVid's page states no license; it is used for research",
    homepage="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    citation="Brostow, Fauqueur and Cipolla, Semantic object classes in video, "
    "Pattern Recognition Letters 2009",
    label_modes=("32", "11"),
    splits="the split folders (SegNet's are 367/101/233); without them by sequence and time",
    video=True,
)
MASK_SUFFIX = "_L"
VOID = "Void"
COLORS: dict[str, Color] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    VOID: (0, 0, 0),
    "Wall": (64, 192, 0),
}
# some copies of label_colors.txt have a 33rd line, in white, which is not a class of CamVid
_STRAY, _STRAY_COLOR = "Bird", (255, 255, 255)
_MISSPELT = {"MotorcycycleScooter": "MotorcycleScooter"}

# SegNet's eleven, in its order, with the members of each as in MathWorks' CamVid example
GROUPS: dict[str, tuple[Color, tuple[str, ...]]] = {
    "Sky": ((128, 128, 128), ("Sky",)),
    "Building": ((128, 0, 0), ("Archway", "Bridge", "Building", "Tunnel", "Wall")),
    "Pole": ((192, 192, 128), ("Column_Pole", "TrafficCone")),
    "Road": ((128, 64, 128), ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv")),
    "Pavement": ((60, 40, 222), ("Sidewalk", "ParkingBlock", "RoadShoulder")),
    "Tree": ((128, 128, 0), ("Tree", "VegetationMisc")),
    "SignSymbol": ((192, 128, 128), ("SignSymbol", "Misc_Text", "TrafficLight")),
    "Fence": ((64, 64, 128), ("Fence",)),
    "Car": ((64, 0, 128), ("Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving")),
    "Pedestrian": ((64, 64, 0), ("Pedestrian", "Child", "CartLuggagePram", "Animal")),
    "Bicyclist": ((0, 128, 192), ("Bicyclist", "MotorcycleScooter")),
}
_SEGNET_UNLABELED = 11
_FLAT_FOLDERS = (
    ("701_StillsRaw_full", "LabeledApproved_full"),
    ("images", "labels"),
    ("images", "masks"),
    (".", "."),
)


def labels(
    label_mode: str | None = None, table: Mapping[str, Color] = COLORS
) -> tuple[LabelSet, MaskDecoder]:
    """`32`: all names but Void, read from colors. `11`: the groups, from colors or SegNet ids.

    Args:
        table: name -> color, of the data's own `label_colors.txt`.
    """
    table = {_MISSPELT.get(name, name): color for name, color in table.items() if name != _STRAY}
    if label_mode == "11":
        label_set = LabelSet(tuple(GROUPS), tuple(color for color, _ in GROUPS.values()))
        group_of = {
            name: index for index, (_, names) in enumerate(GROUPS.values()) for name in names
        }
        colors = {color: group_of.get(name, IGNORE_INDEX) for name, color in table.items()}
        ids = {index: index for index in range(len(GROUPS))} | {_SEGNET_UNLABELED: IGNORE_INDEX}
    else:
        classes = {name: color for name, color in table.items() if name != VOID}
        label_set = LabelSet(tuple(classes), tuple(classes.values()))
        colors = {color: index for index, color in enumerate(classes.values())}
        colors[table.get(VOID, COLORS[VOID])] = IGNORE_INDEX
        ids = {}
    colors.setdefault(_STRAY_COLOR, IGNORE_INDEX)
    return label_set, MaskDecoder(
        len(label_set), ids=tuple(sorted(ids.items())), colors=tuple(sorted(colors.items()))
    )


def read(folder: Path, options: ReadOptions) -> Reading:
    """The pairs of a CamVid folder in any of the layouts above."""
    colors = folder / "label_colors.txt"
    table = dict(read_label_colors(colors)) if colors.is_file() else COLORS
    for suffix, segnet in (("annot", True), ("_labels", False)):
        splits = {}
        for split, names in SPLIT_ALIASES.items():
            found = next((n for n in names if (folder / f"{n}{suffix}").is_dir()), None)
            if found:
                splits[split] = _pairs(folder / found, folder / f"{found}{suffix}")
        if splits:
            if segnet and options.label_mode == "32":
                raise UserError(
                    f"{folder}: masks in SegNet's layout have 11 classes; use --label_mode 11"
                )
            return Reading(splits, *labels("11" if segnet else options.label_mode, table))
    for images, masks in _FLAT_FOLDERS:
        if (folder / images).is_dir() and (folder / masks).is_dir():
            pairs = _pairs(folder / images, folder / masks)
            return Reading({WHOLE: pairs}, *labels(options.label_mode, table), in_time=True)
    raise UserError(f"{folder}: not a folder; give the one with the images")


def _pairs(images: Path, masks: Path) -> Sequence[Pair]:
    files = list_images(images)
    if images == masks:
        files = {stem: file for stem, file in files.items() if not stem.endswith(MASK_SUFFIX)}
    pairs = pair_by_stem(files, list_images(masks), masks, (MASK_SUFFIX, ""))
    if not pairs:
        raise UserError(
            f"{images}: no NAME.png has a mask NAME{MASK_SUFFIX}.png in {masks}; check the names"
        )
    return pairs
