"""`hfseg autolabel`: images and a teacher -> a folder that `finetune --extra_dataset_path` reads.

    OUTPUT/images/      the images
    OUTPUT/masks/       class ids; 255 where the teacher is not sure
    OUTPUT/sources.csv  per image: who labeled it, how sure that had to be, how much is labeled

Beside them is what `hfseg predict` writes, whose rules for names and for going on apply.
"""

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hfseg.config.autolabel import AutolabelArguments
from hfseg.config.data import DatasetArguments
from hfseg.data.class_tables import read_label_table
from hfseg.data.extra import SOURCES_FILE
from hfseg.data.video import SUFFIXES as VIDEO_SUFFIXES
from hfseg.errors import UserError, counted
from hfseg.evaluation.class_map import prediction_table
from hfseg.evaluation.teacher import PromptedClasses, Teacher
from hfseg.inference.result import Options
from hfseg.inference.segmenter import DTYPES, Segmenter
from hfseg.labels import LabelSet
from hfseg.processes import Processes
from hfseg.sam.class_prompter import ClassPrompter
from hfseg.sam.predictor import SamPredictor
from hfseg.workflows.evaluate import load_split
from hfseg.workflows.predict_files import name_outputs, segment_files
from hfseg.workflows.run_start import warn_if_trained_on

_ENOUGH = 50
"""With so many images a precision of 95 % held within three points, with nine it fell to 91 %."""


def autolabel(
    wanted: AutolabelArguments,
    data: DatasetArguments,
    inputs: Sequence[str],
    output_dir: str,
    overwrite: bool = False,
) -> int:
    """Label the images of `inputs` that have no mask in `output_dir` yet.

    Args:
        data: the labeled data for `--precision`.
        inputs: image files and folders, which keep their structure.
        overwrite: label all again.

    Returns:
        How many of these images the folder holds now.

    Raises:
        UserError: wrong models or data, a video, or what `predict_files` raises.
    """
    folder = Path(output_dir)
    names = name_outputs(inputs, folder)
    if videos := [path for path in names if path.suffix.lower() in VIDEO_SUFFIXES]:
        raise UserError(f"{videos[0]} is a video: give its frames as images")
    parts = (wanted.model_name_or_path, wanted.sam3, *wanted.ensemble, wanted.sam)
    source = " + ".join(part for part in parts if part)
    if wanted.tta:
        source += f", views {wanted.tta}"
    settings = {
        "source": source,
        "classes": data.id2label,
        "sliding_window": wanted.sliding_window,
        "stride": wanted.stride,
        "dtype": wanted.dtype,
        "min_confidence": wanted.min_confidence,
        "precision": wanted.precision,
        "dataset": [data.dataset_name, data.dataset_path, wanted.split] if wanted.precision else [],
    }
    how = Options.make(wanted.sliding_window, wanted.stride, wanted.tta)
    teacher: list[Teacher] = []

    def load() -> Teacher:
        teacher.append(_teacher(wanted, data, how))
        return teacher[0]

    outcome = segment_files(load, inputs, folder, settings, how, overwrite)
    _write_sources(folder, names, source, teacher[0])  # also where some files can't be read
    outcome.check()
    return outcome.finished


def _teacher(wanted: AutolabelArguments, data: DatasetArguments, how: Options) -> Teacher:
    sam = None if wanted.sam is None else SamPredictor.from_pretrained(wanted.sam)
    teacher = Teacher(_segmenters(wanted, data), sam, wanted.min_confidence or 0.0)
    if wanted.precision is not None:
        processes = Processes()
        with processes.first_before_others():
            rows, labels = load_split(wanted.split, data)
        for model in (wanted.model_name_or_path, *wanted.ensemble):
            if model is not None and processes.is_first:
                warn_if_trained_on(model, rows, wanted.split)
        table = prediction_table(teacher.labels, labels)
        found = teacher.require_precision(wanted.precision, rows, table, how, processes)
        if processes.is_first:
            percent = f"{100 * wanted.precision:g} %"
            few = f"; on other images it can be several points under {percent}, as these are few"
            images = counted(len(rows), "image")
            print(
                f"{percent} of the pixels of the {images} of {wanted.split} are right "
                f"from a confidence of {found:.3f} on{few if len(rows) < _ENOUGH else ''}",
                flush=True,
            )
    return teacher


def _segmenters(
    wanted: AutolabelArguments, data: DatasetArguments
) -> Sequence[Segmenter | PromptedClasses]:
    if wanted.sam3 is not None:
        if data.id2label is None:
            raise UserError("--sam3 needs --id2label FILE with the names of the classes")
        labels = read_label_table(Path(data.id2label))[0]
        dtype = DTYPES[wanted.dtype]
        return [
            PromptedClasses(ClassPrompter.from_pretrained(wanted.sam3, labels, dtype=dtype), labels)
        ]
    return [
        Segmenter.from_pretrained(
            model, trust_remote_code=wanted.trust_remote_code, dtype=wanted.dtype
        )
        for model in (wanted.model_name_or_path, *wanted.ensemble)
        if model is not None
    ]


def _write_sources(folder: Path, names: dict[Path, str], source: str, teacher: Teacher) -> None:
    """The images beside their masks, and where each mask comes from."""
    processes = Processes()
    lines: dict[Path, tuple[str, ...]] = {}
    pixels = np.zeros(256, dtype=np.int64)
    for path in processes.share(list(names)):
        name = names[path]
        mask = folder / "masks" / f"{name}.png"
        if not mask.is_file():
            continue  # it could not be read
        image = folder / "images" / f"{name}{path.suffix}"
        if not image.is_file():
            image.parent.mkdir(parents=True, exist_ok=True)
            part = image.with_name(f"{image.name}.part")
            shutil.copyfile(path, part)
            os.replace(part, image)
        with Image.open(mask) as ids:
            counts = np.bincount(np.asarray(ids).ravel(), minlength=256)
        pixels += counts
        labeled = 1 - counts[teacher.labels.ignore_index] / counts.sum()
        lines[path] = (image.relative_to(folder).as_posix(), source,
                       f"{teacher.min_confidence:.3f}", f"{labeled:.4f}")  # fmt: skip
    for part_of_others in processes.gathered(lines):
        lines |= part_of_others
    pixels = sum(processes.gathered(pixels), np.zeros(256, dtype=np.int64))
    if not processes.is_first:
        return
    with (folder / SOURCES_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "source", "min_confidence", "labeled"))
        writer.writerows(lines[path] for path in names if path in lines)
    mean = sum(float(line[-1]) for line in lines.values()) / max(len(lines), 1)
    print(f"{100 * mean:.1f} % of the pixels are labeled, the rest are ignored")
    print(f"labeled pixels by class: {_fractions(pixels, teacher.labels)}", flush=True)


def _fractions(pixels: np.ndarray, labels: LabelSet) -> str:
    """`road 61.2 %, car 3.4 %, pole none`: of the labeled pixels, in the order of the classes."""
    labeled = pixels[: len(labels)]
    total = max(1, labeled.sum())
    parts = (
        f"{name} {100 * count / total:.1f} %" if count else f"{name} none"
        for name, count in zip(labels.names, labeled.tolist(), strict=True)
    )
    return ", ".join(parts)
