"""CamSeq01 (Fauqueur, Brostow, Cipolla 2007): 101 video frames, 32 names of which Void is ignored.

Official layout: `NAME.png`, `NAME_L.png` (RGB colours) and `label_colors.txt` in one folder. The
frames are consecutive, so the split is by time: a random one would put neighbours into both.
"""

from pathlib import Path

from hfseg.data.class_tables import read_label_colors
from hfseg.data.masks import MaskDecoder
from hfseg.data.pairs import Pair, list_images
from hfseg.data.splits import split_in_order
from hfseg.errors import UserError
from hfseg.labels import LabelSet

MASK_SUFFIX = "_L"
VOID = "Void"
LICENSE_NOTE = "CamSeq01 is for research use"


def read(source: str) -> tuple[dict[str, list[Pair]], LabelSet, MaskDecoder]:
    """The pairs of each split, the labels and the decoder of a CamSeq01 folder."""
    folder = Path(source)
    entries = read_label_colors(folder / "label_colors.txt")
    classes = [(name, color) for name, color in entries if name != VOID]
    void = tuple(color for name, color in entries if name == VOID)
    labels = LabelSet(tuple(n for n, _ in classes), tuple(c for _, c in classes))

    files = list_images(folder)
    pairs = []
    for stem, image in files.items():
        if stem.endswith(MASK_SUFFIX):
            continue
        mask = files.get(stem + MASK_SUFFIX)
        if mask is None:
            raise UserError(f"{image}: its mask {stem}{MASK_SUFFIX}.png is missing")
        pairs.append(Pair(str(image), str(mask)))
    if not pairs:
        raise UserError(f"{folder}: no NAME.png with NAME{MASK_SUFFIX}.png in it")
    return (
        split_in_order(pairs),
        labels,
        MaskDecoder.for_labels(labels, ignored_colors=void),
    )
