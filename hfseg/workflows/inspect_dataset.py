"""`hfseg inspect`: classes, sizes, images and problems of a dataset, in one pass."""

import shutil
import time
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from hfseg.config.data import AugmentedDataArguments
from hfseg.data.checks import Inspection, by_kind, inspect
from hfseg.data.dataset import read_dataset
from hfseg.data.locate import LoadOptions
from hfseg.data.rows import sample_names
from hfseg.data.transforms import TrainingTransform
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.processes import Processes
from hfseg.shared_work import FOLDER as UNFINISHED
from hfseg.workflows.dataset_report import ContactSheet, inspection_table, write_inspection

_EXAMPLES = 3


def inspect_dataset(
    data: AugmentedDataArguments, output_dir: str | None = None, preview: bool = False
) -> Inspection:
    """Print a table and the problems found; write report.html, report.json and contact_sheet.png.

    The processes of a launch share the samples, and the first one prints and writes.

    Args:
        output_dir: target folder; None: `runs/inspect-NAME`.
        preview: also draw preview.png, a sheet of augmented samples.

    Raises:
        UserError: the data can't be read.
    """
    dataset_name = data.required_name()
    if data.streaming:
        raise UserError("--streaming: inspect reads the complete dataset; leave the flag out")
    name = Path(data.dataset_path or dataset_name).name
    folder = Path(output_dir or f"runs/inspect-{name}")
    started = time.perf_counter()
    options = LoadOptions(**{**data.dataset_options(), "on_bad_sample": "report"})
    processes = Processes()
    with processes.first_before_others():
        loaded = read_dataset(dataset_name, data.dataset_path, options=options)
    reading = time.perf_counter() - started
    sheet = ContactSheet(loaded.labels)
    show = sheet.add if processes.is_first else None
    found = inspect(loaded, show, processes=processes, output_dir=folder)
    if not processes.is_first:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(folder / "contact_sheet.png")
    sheets = {"Samples": "contact_sheet.png"}
    if preview:
        _preview(data, loaded.data, loaded.labels, folder / "preview.png")
        sheets[f"Augmented: {Path(data.augmentation).name}"] = "preview.png"
    write_inspection(folder, name, found, sheets)
    print(inspection_table(found))
    for finding in found.findings:
        print(f"stops training: {finding}")
    if found.problems and data.on_bad_sample == "skip":
        print("samples with problems are left out (--on_bad_sample skip)")
    problem = "other problem" if found.findings else "problem"
    for title, sentences in ((problem, found.problems), ("warning", found.warnings)):
        print(f"{len(sentences)} {title}{'' if len(sentences) == 1 else 's'}")
        for group in by_kind(sentences):
            print("\n".join(f"- {sentence}" for sentence in group[:_EXAMPLES]))
            if len(group) > _EXAMPLES:
                print(f"  and {len(group) - _EXAMPLES} more like these")
    print(
        f"reading took {reading:.1f} s (none the second time), inspecting "
        f"{1000 * found.seconds_per_image:.1f} ms per image"
    )
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    print(f"written to {folder}/report.html")
    return found


def _preview(
    data: AugmentedDataArguments, rows: datasets.DatasetDict, labels: LabelSet, path: Path
) -> None:
    """A few samples, each followed by its augmentations in three epochs."""
    transform = TrainingTransform(data.augmentation, data.crop_size, seed=42)
    size = data.image_size
    train = rows["train"] if "train" in rows else next(iter(rows.values()))
    sheet = ContactSheet(labels)
    names = sample_names(train, "train")
    for index in np.linspace(0, len(train) - 1, min(4, len(train))).astype(int).tolist():
        image, ids = train[index]["image"], train[index]["label"]
        if size is not None:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            ids = ids.resize(size[::-1], Image.Resampling.NEAREST)
        sheet.add(names[index], image, np.asarray(ids))
        for epoch in range(3):
            picture, mask = transform(np.asarray(image), np.asarray(ids), epoch, index)
            sheet.add(f"{names[index]}, epoch {epoch}", Image.fromarray(picture), mask)
    sheet.save(path)
