"""CamSeq01: 101 consecutive frames of one CamVid sequence, with CamVid's names and colors.

Official layout: `NAME.png`, `NAME_L.png` (RGB colors) and `label_colors.txt` in one folder. The
frames are consecutive, so the split is by time: a random one would put neighbors into both.
"""

from pathlib import Path

from hfseg.data.info import DatasetInfo
from hfseg.data.pairs import Reading
from hfseg.data.readers import ReadOptions, camvid

INFO = DatasetInfo(
    name="camseq",
    title="CamSeq01",
    license="other",
    license_note="CamSeq01 is for research use",
    homepage="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamSeq01/",
    citation="Fauqueur, Brostow and Cipolla, Assisted Video Object Labeling By Joint Tracking of "
    "Regions and Keypoints, ICCV workshop 2007",
    label_modes=camvid.INFO.label_modes,
    splits="by time, 80/10/10: it has no official split and the frames are consecutive",
    video=True,
)
labels = camvid.labels


def read(folder: Path, options: ReadOptions) -> Reading:
    """The pairs of a CamSeq01 folder, in the order of the frames."""
    return camvid.read(folder, options)
