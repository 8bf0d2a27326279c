"""Label images with a trained model, for training another.

    hfseg autolabel --model_name_or_path runs/my-data --output_dir more --min_confidence 0.9 photos/
    hfseg autolabel --model_name_or_path runs/my-data --output_dir more --precision 0.95 \\
        --dataset_name folder --dataset_path my-data photos/
    hfseg finetune --dataset_name folder --dataset_path my-data \\
        --extra_dataset_path more --extra_weight 0.5

It writes images/, masks/ (class ids, 255 where the model is not sure) and sources.csv. If
run again, it continues with the images that have no mask yet.
"""

from hfseg.config.autolabel import AutolabelArguments
from hfseg.config.data import DatasetArguments


def main(argv: list[str]) -> None:
    from hfseg.config.parser import OptionParser

    parser = OptionParser(
        (DatasetArguments, AutolabelArguments), prog="hfseg autolabel", description=__doc__
    )
    parser.add_argument("inputs", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--output_dir", metavar="DIR", required=True, help="where the labels go")
    parser.add_argument("--overwrite", action="store_true", help="replace existing labels")
    data, wanted, own = parser.parse_groups(argv)

    from hfseg.processes import Processes
    from hfseg.workflows.autolabel import autolabel

    count = autolabel(wanted, data, own.inputs, own.output_dir, own.overwrite)
    if Processes().is_first:
        print(f"{count} labeled, in {own.output_dir}")
