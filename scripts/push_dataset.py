"""Put any data set that hfseg reads on the Hub, masks as class ids, in one command.

    python scripts/push_dataset.py --dataset_name voc --dataset_path VOCdevkit --repo_id me/voc
    python scripts/push_dataset.py --dataset_name coco --dataset_path DIR --output_dir local-copy

The repository is private unless `--no-private` is given: many licences don't let copies be passed
on. What is written is parquet with the columns `image` and `label`, `labels.json`, `id2label.json`
and a data card; `hfseg.load_dataset("me/voc")` reads it back.
"""

import argparse
from pathlib import Path

from hfseg.cli import run_main
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser, parse_data

    parser = Parser(
        prog="push_dataset.py",
        description="Any data set -> parquet on the Hub or in a folder.",
        allow_abbrev=False,
    )
    parser.add_argument("--repo_id", metavar="OWNER/NAME", help="the data set repository to fill")
    parser.add_argument("--output_dir", metavar="DIR", help="write it here instead")
    parser.add_argument(
        "--private", action=argparse.BooleanOptionalAction, default=True, help="[private]"
    )
    data, own = parse_data(parser, argv)
    if data.dataset_name is None:
        raise UserError("no data: give --dataset_name, such as folder with --dataset_path")
    if (own.repo_id is None) == (own.output_dir is None):
        raise UserError("give either --repo_id OWNER/NAME or --output_dir DIR")

    from hfseg.data import dataset_info, load_dataset
    from hfseg.data.export import push_dataset, write_dataset

    if data.streaming:
        raise UserError("--streaming can't be pushed: the whole data set has to be read")
    rows, labels = load_dataset(data.dataset_name, data.dataset_path, **data.dataset_options())
    info = dataset_info(data.dataset_name)
    counts = ", ".join(f"{split} {len(part)}" for split, part in rows.items())
    print(f"{data.dataset_name}: {counts}; {len(labels)} classes", flush=True)
    if own.output_dir is not None:
        write_dataset(own.output_dir, rows, labels, Path(own.output_dir).name, info)
        print(f"written to {own.output_dir}")
    else:
        print(f"pushed to {push_dataset(own.repo_id, rows, labels, info, own.private)}")


if __name__ == "__main__":
    run_main(main)
