"""The small things that the texts of the documentation name: data, photos, runs, a SAM.

The documentation is run in this folder, so that its texts stay those of real work.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from conftest import make_folder
from datasets import Dataset, DatasetDict
from layouts import generated
from PIL import Image
from tiny_sams import tiny_sam2
from tiny_segformer import save_tiny
from torchvision.models.segmentation import deeplabv3_resnet50

from hfseg.config.resolve import resolve
from hfseg.data.readers import cityscapes
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.workflows.finetune import finetune

_TRAINING = (
    "--from_scratch", "--max_steps", "2", "--max_train_samples", "6", "--max_eval_samples", "2",
    "--per_device_train_batch_size", "2", "--dataloader_num_workers", "0", "--image_size", "64x96",
    "--crop_size", "64", "--eval_strategy", "no", "--save_strategy", "no",
)  # fmt: skip
SMALLER = {
    "finetune": (*_TRAINING, "--overwrite_output_dir"),
    "compare": (*_TRAINING, "--overwrite_output_dir"),
    "tune": (*_TRAINING[:-4], "--eval_strategy", "steps", "--eval_steps", "1", "--trials", "1"),
    "find-label-errors": (*_TRAINING, "--folds", "2"),
    "autolabel": ("--precision", "0.01", "--overwrite"),
    "evaluate": ("--max_eval_samples", "2", "--overwrite_output_dir"),
    "predict": ("--overwrite",),
    "export": ("--overwrite",),
    "compare-sam": ("--max_eval_samples", "1", "--points_per_side", "2", "--num_figures", "1"),
}
"""What is added to a command: flags for less work; the last one of two equal flags holds."""

SMALL_OPTIONS = {
    "from_scratch": True, "max_steps": 2, "max_train_samples": 6, "max_eval_samples": 2,
    "per_device_train_batch_size": 2, "dataloader_num_workers": 0, "crop_size": "48",
    "eval_strategy": "no", "save_strategy": "no", "overwrite_output_dir": True,
    "disable_tqdm": True,
}  # fmt: skip
"""The same for `hfseg.finetune`."""

PRELUDE = f"""\
import hfseg, hfseg.api
from PIL import Image
def smaller(**options):
    return hfseg.api.finetune(**{{**options, **{SMALL_OPTIONS!r}}})
hfseg.finetune = smaller
labels = hfseg.LabelSet(("ground", "wall", "roof"))
image = Image.open("photo.jpg")
segmenter = hfseg.Segmenter.from_pretrained("runs/quickstart")
my_dataset_dict = hfseg.load_dataset("folder-of-save_to_disk")[0]
"""
"""What the Python of a page may take for granted."""


def make_docs_folder(folder: Path) -> Path:
    """Everything by the name that the documentation gives it."""
    make_folder(folder / "my-data", count=13)
    generated("camseq", folder / "CamSeq01")
    generated("voc", folder / "VOCdevkit" / "VOC2012")
    generated("cityscapes", folder / "cityscapes")
    generated("coco", folder / "roboflow-export")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    photo.resize((640, 480)).save(folder / "photo.jpg")
    (folder / "photos").mkdir()
    photo.save(folder / "photos" / "a.jpg")
    (folder / "my-plan").mkdir()
    (folder / "my-plan" / "results.yaml").write_text("first: {command: hfseg finetune}\n")
    save_tiny(folder / "me" / "model")
    city, city_processor = load_model("segformer-tiny", cityscapes.labels()[0], pretrained=False)
    city.save_pretrained(folder / "me" / "city-model")
    city_processor.save_pretrained(folder / "me" / "city-model")
    (folder / "same-names.yaml").write_text(
        "road: ground\ntree: wall\nsky: roof\ncar: null\npole: null\n"
    )
    _save_to_disk(folder / "folder-of-save_to_disk", photo)
    torch.save(
        deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=2).state_dict(),
        folder / "deeplabv3_resnet50.pth",
    )
    model, processor = tiny_sam2()
    sam = folder / "facebook" / "sam2.1-hiera-tiny"
    model.save_pretrained(sam)
    processor.save_pretrained(sam)
    run = folder / "runs" / "quickstart"
    options = {**SMALL_OPTIONS, "dataset_name": "toyscapes", "model_name_or_path": "segformer-tiny"}
    finetune(resolve({**options, "output_dir": str(run)}))
    for name in ("first", "second"):
        shutil.copytree(run, folder / "runs" / name)
    return folder


def _save_to_disk(folder: Path, photo: Image.Image) -> None:
    mask = Image.fromarray((np.asarray(photo)[..., 0] > 99).astype(np.uint8))
    rows = Dataset.from_list([{"image": photo, "label": mask}] * 4)
    splits = DatasetDict({"train": rows, "validation": rows})
    splits.save_to_disk(folder)
    (folder / "labels.json").write_text(json.dumps(LabelSet(("road", "car")).to_dict()))


def smaller(words: Sequence[str]) -> list[str]:
    """The command with less work to do; a run that is resumed keeps its options."""
    if "--resume_from_checkpoint" in words:
        return list(words)
    return [*words, *SMALLER.get(words[1], ())]
