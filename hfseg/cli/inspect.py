"""Look at a dataset before training on it: what is in it, and what is wrong with it.

    hfseg inspect --dataset_name voc --dataset_path VOCdevkit
    hfseg inspect --dataset_name folder --dataset_path DIR --augmentation strong \\
        --crop_size 512 --preview

It prints a table, and writes report.html, report.json and contact_sheet.png (with --preview also
preview.png, what the augmentation makes of some samples) into --output_dir.
"""

from hfseg.config.data import DataArguments


def main(argv: list[str]) -> None:
    from hfseg.config.parser import OptionParser

    parser = OptionParser(DataArguments, prog="hfseg inspect", description=__doc__)
    parser.add_argument(
        "--output_dir", metavar="DIR", help="where the report goes (runs/inspect-NAME)"
    )
    parser.add_argument(
        "--preview", action="store_true", help="draw a sheet of augmented samples as well"
    )
    data, own = parser.parse_groups(argv)

    from hfseg.workflows.inspect_dataset import inspect_dataset

    inspect_dataset(data, own.output_dir, own.preview)
