"""Inspect a dataset before training: its classes, sizes and problems.

    hfseg inspect --dataset_name voc --dataset_path VOCdevkit
    hfseg inspect --dataset_name folder --dataset_path DIR --augmentation strong \\
        --crop_size 512 --preview

It prints a table, and writes report.html, report.json and contact_sheet.png into --output_dir, and
with --preview also preview.png, a sheet of augmented samples.
"""

from hfseg.config.data import DataArguments


def main(argv: list[str]) -> None:
    from hfseg.config.parser import OptionParser

    parser = OptionParser(DataArguments, prog="hfseg inspect", description=__doc__)
    parser.add_argument(
        "--output_dir", metavar="DIR", help="folder of the report (runs/inspect-NAME)"
    )
    parser.add_argument(
        "--preview", action="store_true", help="also draw a sheet of augmented samples"
    )
    data, own = parser.parse_groups(argv)

    from hfseg.workflows.inspect_dataset import inspect_dataset

    inspect_dataset(data, own.output_dir, own.preview)
