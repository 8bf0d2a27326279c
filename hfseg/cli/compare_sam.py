"""Compare a fine-tuned model with the Segment Anything family, in numbers and figures.

    hfseg compare-sam --model_name_or_path runs/voc --sam facebook/sam2.1-hiera-tiny \\
        --dataset_name voc --dataset_path DIR --max_eval_samples 50

It compares four methods: (1) the model alone; (2) SAM's masks with their ground-truth classes, an
upper bound; (3) SAM prompted with the model's regions; (4) SAM's masks, each with the majority
class of the model's prediction. It writes results.json, results.md, comparison.csv, images.csv and
figures into --output_dir.
"""

from hfseg.config.data import DatasetArguments
from hfseg.config.evaluation import SamArguments
from hfseg.config.parser import OptionParser


def main(argv: list[str]) -> None:
    parser = OptionParser(
        (DatasetArguments, SamArguments), prog="hfseg compare-sam", description=__doc__
    )
    data, options, _ = parser.parse_groups(argv)

    from hfseg.workflows.compare_sam import compare_sam

    compare_sam(options, data)
