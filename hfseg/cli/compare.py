"""Compare recipes and finished runs: one table and one figure.

    hfseg compare camseq-segformer-b0 camseq-unet-resnet50 --dataset_path CamSeq01
    hfseg compare runs/first runs/second --dataset_path my-data

Each name is a recipe, which is run into OUTPUT_DIR/NAME unless that run is finished, or the folder
of a finished run. The flags of `hfseg finetune` apply to every recipe.
It writes comparison.md and comparison.png into --output_dir (runs/comparison).
"""

from pathlib import Path

from hfseg.config.resolve import training_parser


def main(argv: list[str]) -> None:
    parser = training_parser("hfseg compare", __doc__)
    parser.add_argument("names", nargs="*", metavar="RECIPE_OR_RUN")
    options = parser.parse(argv)
    names = options.pop("names", [])
    output = Path(options.pop("output_dir", "runs/comparison"))

    from hfseg.workflows.compare_runs import compare

    print(compare(names, options, output))
    print(f"written: {output / 'comparison.md'} {output / 'comparison.png'}")
