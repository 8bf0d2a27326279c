"""Put the demo on the Hub, as a Gradio Space that shows one of your models.

    python scripts/push_space.py --repo_id me/street-demo --model me/camseq-segformer-b0

The model is one of the Hub (`scripts/push_model.py` puts it there). If it is private, give the
Space a secret HF_TOKEN in its settings.
"""

import argparse
from pathlib import Path

from hfseg.cli import run_main


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser

    parser = Parser(
        prog="push_space.py", description="The demo -> a Gradio Space.", allow_abbrev=False
    )
    parser.add_argument("--repo_id", metavar="OWNER/NAME", required=True, help="where to")
    parser.add_argument("--model", metavar="OWNER/NAME", required=True, help="the model it shows")
    parser.add_argument("--private", action=argparse.BooleanOptionalAction, help="if it is new")
    wanted = parser.parse_args(argv)

    from hfseg.hub import push_space

    checkout = Path(__file__).resolve().parent.parent
    page = push_space(wanted.repo_id, wanted.model, checkout, private=wanted.private)
    print(f"pushed to {page}")


if __name__ == "__main__":
    run_main(main)
