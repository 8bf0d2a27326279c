"""Inspect a dataset before training: its classes, sizes and problems.

    hfseg inspect --dataset_name voc --dataset_path VOCdevkit
    hfseg inspect --dataset_name folder --dataset_path DIR --augmentation strong \\
        --crop_size 512 --preview

It prints a table and the problems by kind with examples, and exits with 1 if training would
stop. It writes report.html, report.json and contact_sheet.png (with --preview also
preview.png, what the augmentation makes of some samples) into --output_dir.
"""

import sys

from hfseg.cli.first_error import is_first_to_fail
from hfseg.config.data import AugmentedDataArguments
from hfseg.config.parser import OptionParser
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    parser = OptionParser(AugmentedDataArguments, prog="hfseg inspect", description=__doc__)
    parser.add_argument(
        "--output_dir", metavar="DIR", help="folder of the report (runs/inspect-NAME)"
    )
    parser.add_argument(
        "--preview", action="store_true", help="also draw a sheet of augmented samples"
    )
    data, own = parser.parse_groups(argv)

    from hfseg.workflows.inspect_dataset import inspect_dataset

    try:
        found = inspect_dataset(data, own.output_dir, own.preview)
    except UserError as error:
        if is_first_to_fail():
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    problems = found.problems if data.on_bad_sample == "stop" else []
    if problems or found.findings:
        raise SystemExit(1)
