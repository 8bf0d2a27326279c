"""Push a model, a dataset, the metric or the demo to the Hub, each in one commit.

    hfseg push model runs/quickstart --repo_id me/toyscapes-segformer
    hfseg push dataset --dataset_name voc --dataset_path VOCdevkit --repo_id me/voc
    hfseg push dataset --dataset_name coco --dataset_path DIR --output_dir local-copy
    hfseg push metric --repo_id me/mean_iou
    hfseg push space --repo_id me/street-demo --model me/camseq-segformer-b0

New repositories of models and datasets are private; --no-private makes them public. Repeat the
command to complete a push that failed. Log in with `hf auth login`, or set HF_TOKEN.
"""

import argparse
from pathlib import Path
from typing import Any

from hfseg.config.data import DatasetArguments
from hfseg.config.parser import OptionParser
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    kinds = {"model": _model, "dataset": _dataset, "metric": _metric, "space": _space}
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
    elif argv[0] in kinds:
        kinds[argv[0]](argv[1:])
    else:
        raise UserError(f"hfseg push has no {argv[0]!r}; choose from {', '.join(kinds)}")


def _parser(kind: str, groups: Any = (), private: bool | None = None) -> OptionParser:
    parser = OptionParser(groups, prog=f"hfseg push {kind}", description=__doc__)
    parser.add_argument("--repo_id", metavar="OWNER/NAME", help="the repository to push to")
    parser.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        default=private,
        help="whether a new repository is private",
    )
    return parser


def _required(own: argparse.Namespace) -> str:
    if own.repo_id is None:
        raise UserError("--repo_id is required; give it as OWNER/NAME")
    return own.repo_id


def _model(argv: list[str]) -> None:
    parser = _parser("model", private=True)
    parser.add_argument("folder", metavar="OUTPUT_DIR", help="the folder of the run")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to push to (default: main)")
    (own,) = parser.parse_groups(argv)
    repo_id = _required(own)

    from hfseg.hub.commit import prepare_repository
    from hfseg.hub.model import check_run, push_run

    check_run(Path(own.folder))
    repo_id = prepare_repository(repo_id, private=own.private)
    print(f"pushed to {push_run(own.folder, repo_id, revision=own.revision)}")


def _dataset(argv: list[str]) -> None:
    parser = _parser("dataset", DatasetArguments, private=True)
    parser.add_argument("--output_dir", metavar="DIR", help="write to this folder instead")
    data, own = parser.parse_groups(argv)
    if (own.repo_id is None) == (own.output_dir is None):
        raise UserError("give exactly one target: --repo_id OWNER/NAME or --output_dir DIR")

    from hfseg.processes import Processes
    from hfseg.workflows.share_dataset import share_dataset

    sentence = share_dataset(data, own.repo_id, own.output_dir, own.private)
    if Processes().is_first:
        print(sentence)


def _metric(argv: list[str]) -> None:
    (own,) = _parser("metric").parse_groups(argv)
    repo_id = _required(own)

    from hfseg.hub import push_metric

    print(f"pushed to {push_metric(repo_id, private=own.private)}")
    print(f'use it: evaluate.load("{repo_id}")')


def _space(argv: list[str]) -> None:
    parser = _parser("space")
    parser.add_argument("--model", metavar="OWNER/NAME", required=True, help="the model it runs")
    (own,) = parser.parse_groups(argv)
    repo_id = _required(own)

    from hfseg.hub import push_space

    print(f"pushed to {push_space(repo_id, own.model, private=own.private)}")
