"""One pass over a dataset: classes, sizes, images and problems."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hfseg.config.data import DataArguments
from hfseg.data import load_dataset
from hfseg.data.checks import inspect
from hfseg.data.transforms import TrainingTransform
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.workflows.dataset_report import ContactSheet, inspection_table, write_inspection


def inspect_dataset(
    data: DataArguments, output_dir: str | None = None, preview: bool = False
) -> None:
    """Print a table, and write report.html, report.json and contact_sheet.png.

    Args:
        output_dir: where to; `runs/inspect-NAME` if None.
        preview: also draw preview.png, what the augmentation makes of some samples.

    Raises:
        UserError: data that can't be read at all.
    """
    if data.dataset_name is None:
        raise UserError("no data: give --dataset_name, such as folder with --dataset_path")
    if data.streaming:
        raise UserError("--streaming can't be inspected: the complete dataset has to be read")
    name = Path(data.dataset_path or data.dataset_name).name
    folder = Path(output_dir or f"runs/inspect-{name}")
    problems: list[str] = []
    options = {
        **data.dataset_options(),
        "on_bad_sample": lambda split, found, count: problems.extend(found),
    }
    started = time.perf_counter()
    rows, labels = load_dataset(data.dataset_name, data.dataset_path, **options)
    reading = time.perf_counter() - started
    sheet = ContactSheet(labels)
    found = inspect(rows, labels, problems, show=sheet.add)
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(folder / "contact_sheet.png")
    sheets = {"Samples": "contact_sheet.png"}
    if preview:
        _preview(data, rows, labels, folder / "preview.png")
        sheets[f"Augmented: {Path(data.augmentation).name}"] = "preview.png"
    write_inspection(folder, name, found, sheets)
    print(inspection_table(found))
    for line in (*found.problems, *found.warnings):
        print(f"- {line}")
    print(
        f"{len(found.problems)} problems, {len(found.warnings)} warnings; reading took "
        f"{reading:.1f} s (none the second time), inspecting "
        f"{1000 * found.seconds_per_image:.1f} ms an image"
    )
    print(f"written to {folder}/report.html")


def _preview(data: DataArguments, rows: Any, labels: LabelSet, path: Path) -> None:
    """A few samples, each beside what training would see of it in three epochs."""
    transform = TrainingTransform(data.augmentation, data.crop_size, seed=42)
    size = data.image_size
    train = rows["train"] if "train" in rows else next(iter(rows.values()))
    sheet = ContactSheet(labels)
    for index in np.linspace(0, len(train) - 1, min(4, len(train))).astype(int).tolist():
        image, ids = train[index]["image"], train[index]["label"]
        if size is not None:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            ids = ids.resize(size[::-1], Image.Resampling.NEAREST)
        sheet.add(f"sample {index}", image, np.asarray(ids))
        for epoch in range(3):
            picture, mask = transform(np.asarray(image), np.asarray(ids), epoch, index)
            sheet.add(f"sample {index}, epoch {epoch}", Image.fromarray(picture), mask)
    sheet.save(path)
