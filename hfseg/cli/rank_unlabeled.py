"""Rank images without labels: which to label next.

    hfseg rank-unlabeled --model_name_or_path runs/my-data --budget 50 --output_dir next photos/
    hfseg rank-unlabeled --model_name_or_path runs/my-data --budget 50 --output_dir next \\
        --dataset_name folder --dataset_path my-data photos/

It writes ranking.csv: the --budget images to label, then the others. They are images that the
model is unsure of, and that differ from each other and from the labeled ones, if these are given.
"""

from hfseg.config.data import DataArguments
from hfseg.config.rank_unlabeled import RankArguments


def main(argv: list[str]) -> None:
    from hfseg.config.parser import OptionParser

    parser = OptionParser(
        (DataArguments, RankArguments), prog="hfseg rank-unlabeled", description=__doc__
    )
    parser.add_argument("inputs", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--output_dir", metavar="DIR", required=True, help="where it is written")
    parser.add_argument("--overwrite", action="store_true", help="replace ranking.csv")
    data, wanted, own = parser.parse_groups(argv)

    from hfseg.workflows.rank_unlabeled import rank_unlabeled

    rank_unlabeled(wanted, data, own.inputs, own.output_dir, own.overwrite)
