"""Look at a whole data set before training on it: what is in it and what is wrong with it.

    python scripts/inspect_dataset.py --dataset_name voc --dataset_path VOCdevkit
    python scripts/inspect_dataset.py --dataset_name folder --dataset_path DIR \\
        --augmentation strong --crop_size 512 --preview

Prints a table, and writes report.html, report.json and contact_sheet.png (and preview.png, what
the augmentation makes of some samples) into --output_dir.
"""

import time
from pathlib import Path

from hfseg.cli import run_main
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser, parse_data

    parser = Parser(
        prog="inspect_dataset.py",
        description="One pass over a data set: classes, sizes, pictures and problems.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output_dir", metavar="DIR", help="where the report goes [runs/inspect-NAME]"
    )
    parser.add_argument(
        "--preview", action="store_true", help="draw a sheet of augmented samples as well"
    )
    data, own = parse_data(parser, argv)
    if data.dataset_name is None:
        raise UserError("no data: give --dataset_name, such as folder with --dataset_path")
    if data.streaming:
        raise UserError("--streaming can't be inspected: the whole data set has to be read")

    from hfseg.data import load_dataset
    from hfseg.data.checks import inspect
    from hfseg.workflows.dataset_report import ContactSheet, inspection_table, write_inspection

    name = Path(data.dataset_path or data.dataset_name).name
    folder = Path(own.output_dir or f"runs/inspect-{name}")
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
    if own.preview:
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


def _preview(data: object, rows: object, labels: object, path: Path) -> None:
    """A few samples, each beside what training would see of it in three epochs."""
    import numpy as np
    from PIL import Image

    from hfseg.data.transforms import TrainingTransform, parse_size
    from hfseg.workflows.dataset_report import ContactSheet

    transform = TrainingTransform(
        data.augmentation, parse_size("--crop_size", data.crop_size), seed=42
    )
    size = parse_size("--image_size", data.image_size)
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


if __name__ == "__main__":
    run_main(main)
