"""Compare recipes and finished runs: one table and one figure.

    hfseg compare camseq-segformer-b0 camseq-unet-resnet50 --dataset_path CamSeq01
    hfseg compare runs/first runs/second --dataset_path my-data

A name is a recipe, which is run first (into OUTPUT_DIR/NAME; finished runs are kept), or the
folder of a finished run. The flags are those of `hfseg finetune` and hold for every recipe.
It writes comparison.md and comparison.png into --output_dir (runs/comparison).
"""

from pathlib import Path


def main(argv: list[str]) -> None:
    from hfseg.config.resolve import training_parser

    parser = training_parser("hfseg compare", __doc__)
    parser.add_argument("names", nargs="*", metavar="RECIPE_OR_RUN")
    options = parser.parse(argv)
    names = options.pop("names", [])
    output = Path(options.pop("output_dir", "runs/comparison"))

    from hfseg.workflows.compare_runs import compare

    print(compare(names, options, output))
    print(f"written: {output / 'comparison.md'} {output / 'comparison.png'}")
