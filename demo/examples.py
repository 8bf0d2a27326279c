"""Example photos for the models: those that come with a model, or drawn scenes."""

import shutil
from pathlib import Path

from huggingface_hub import snapshot_download
from PIL import Image

from hfseg.data.toyscapes import LABELS, draw_scene
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import index_png

from .files import file_data, new_file, save_png
from .shown_models import ShownModels

MAX_EXAMPLES = 6
FOLDER = "examples"
"""In a model folder: photos NAME.jpg, and optionally ground truth NAME_mask.png."""

_SCENES = (3, 18, 33, 52)
"""Scenes of the toyscapes test split."""
_MASK = "_mask.png"


def example_photos(models: ShownModels) -> list[dict[str, object]]:
    """The examples of the page: name, file, and the file of the ground truth or None.

    They are the photos of the first model that has some, or drawn scenes for toyscapes.
    """
    for name, source in models.cards.items():
        if found := _of_folder(_examples_folder(source)):
            return found[:MAX_EXAMPLES]
        if knows_toyscapes(models.segmenter(name).labels):
            return _drawn_scenes()
    if not models.cards and knows_toyscapes(models.segmenter(None).labels):
        return _drawn_scenes()
    return []


def knows_toyscapes(labels: LabelSet) -> bool:
    """Whether a model was trained on drawn scenes."""
    return labels.names == LABELS.names


def _examples_folder(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source, FOLDER)

    try:
        return Path(snapshot_download(source, allow_patterns=f"{FOLDER}/*"), FOLDER)
    except (OSError, ValueError):  # no network: the model came from the cache
        return Path(source, FOLDER)


def _of_folder(folder: Path) -> list[dict[str, object]]:
    if not folder.is_dir():
        return []
    found = []
    for photo in sorted(folder.iterdir()):
        if photo.suffix.lower() not in (".jpg", ".jpeg", ".png") or photo.name.endswith(_MASK):
            continue
        mask = photo.with_name(photo.stem + _MASK)
        found.append(_example(photo.stem, _copied(photo), _copied(mask) if mask.exists() else None))
    return found


def _copied(path: Path) -> str:
    return shutil.copyfile(path, new_file(path.name)).as_posix()


def _drawn_scenes() -> list[dict[str, object]]:
    scenes = []
    for index in _SCENES:
        image, mask = draw_scene("test", index)
        photo = save_png(Image.fromarray(image), f"scene-{index}")
        scenes.append(_example(f"scene-{index}", photo, save_png(index_png(mask, LABELS), "truth")))
    return scenes


def _example(name: str, photo: str, truth: str | None) -> dict[str, object]:
    return {"name": name, "file": file_data(photo), "truth": truth and file_data(truth)}
