"""Put hfseg's mean IoU on the Hub, so that `evaluate.load("me/mean_iou")` works for anyone.

python scripts/push_metric.py --repo_id me/mean_iou
"""

import argparse

from hfseg.cli import run_main


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser

    parser = Parser(prog="push_metric.py", description="The metric -> the Hub.", allow_abbrev=False)
    parser.add_argument("--repo_id", metavar="OWNER/NAME", required=True, help="where to")
    parser.add_argument("--private", action=argparse.BooleanOptionalAction, help="if it is new")
    wanted = parser.parse_args(argv)

    from hfseg.hub import push_metric

    print(f"pushed to {push_metric(wanted.repo_id, private=wanted.private)}")
    print(f'use it: evaluate.load("{wanted.repo_id}")')


if __name__ == "__main__":
    run_main(main)
