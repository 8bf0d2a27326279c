"""Put a finished run on the Hub: weights, processor, card, results and recipe, in one commit.

    python scripts/push_model.py runs/quickstart --repo_id me/toyscapes-segformer
    python scripts/push_model.py runs/quickstart --repo_id me/toyscapes-segformer --private

The same command again completes a push that failed; files that are there already are not sent
twice. Log in before with `hf auth login`, or set HF_TOKEN.
"""

import argparse
from pathlib import Path

from hfseg.cli import run_main


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser

    parser = Parser(
        prog="push_model.py", description="A finished run -> the Hub.", allow_abbrev=False
    )
    parser.add_argument("folder", metavar="OUTPUT_DIR", help="the folder of the run")
    parser.add_argument("--repo_id", metavar="OWNER/NAME", required=True, help="where to")
    parser.add_argument("--private", action=argparse.BooleanOptionalAction, help="if it is new")
    parser.add_argument("--revision", metavar="BRANCH", help="instead of main")
    wanted = parser.parse_args(argv)

    from hfseg.hub.commit import prepare_repository
    from hfseg.hub.model import check_run, push_run

    check_run(Path(wanted.folder))
    repo_id = prepare_repository(wanted.repo_id, private=wanted.private)
    print(f"pushed to {push_run(wanted.folder, repo_id, revision=wanted.revision)}")


if __name__ == "__main__":
    run_main(main)
