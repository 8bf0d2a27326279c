"""Search hyperparameters with optuna, in the search space under `search` in the recipe.

    hfseg tune --dataset_name folder --dataset_path my-data --trials 20
    hfseg tune --config camseq-unet-resnet50 --dataset_path CamSeq01 --trials 20

The flags are those of `hfseg finetune`. If run again, it continues the study in --output_dir
(runs/NAME-search); several processes can work on one study. It writes study.db, history.png,
importance.png and best-recipe.yaml:

    hfseg finetune --config runs/NAME-search/best-recipe.yaml
"""

from hfseg.config.resolve import parse_options, training_parser


def main(argv: list[str]) -> None:
    parser = training_parser("hfseg tune", __doc__)
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="trials of the study")
    options = parse_options(parser, argv)
    trials = options.pop("trials", 20)

    from hfseg.workflows.tune import tune

    tune(options, trials)
