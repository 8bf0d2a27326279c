"""Score any segmentation checkpoint on any labeled split, at the labels' own size.

    hfseg evaluate --model_name_or_path runs/quickstart --dataset_name toyscapes
    hfseg evaluate --model_name_or_path me/model --dataset_name cityscapes --dataset_path DIR \\
        --sliding_window 1024 --stride 768 --tta flip,0.75,1.0,1.25

Images are fed exactly as `hfseg.Segmenter` feeds them. It writes results.json, results.md,
images.csv (the worst image first) and figures into --output_dir. Under `accelerate launch` the
processes share the images.
"""

from hfseg.config.data import DatasetArguments
from hfseg.config.evaluation import EvaluationArguments
from hfseg.config.parser import OptionParser


def main(argv: list[str]) -> None:
    parser = OptionParser(
        (DatasetArguments, EvaluationArguments), prog="hfseg evaluate", description=__doc__
    )
    data, options, _ = parser.parse_groups(argv)

    from hfseg.workflows.evaluate import evaluate_model

    evaluate_model(options, data)
