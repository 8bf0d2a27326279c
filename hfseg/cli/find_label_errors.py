"""Find wrong labels with models that have not seen them.

    hfseg find-label-errors --dataset_name folder --dataset_path my-data --folds 4

The flags are those of `hfseg finetune`. For each fold, a model is trained on the others and judges
its labels. If run again, it continues where it stopped. It writes label_errors.csv,
images.csv, label_errors.html and suggestions/ into --output_dir (runs/NAME-label-errors).
"""


def main(argv: list[str]) -> None:
    from hfseg.config.resolve import parse_options, training_parser

    parser = training_parser("hfseg find-label-errors", __doc__)
    parser.add_argument("--folds", type=int, default=4, metavar="N", help="models to train")
    options = parse_options(parser, argv)
    folds = options.pop("folds", 4)

    from hfseg.workflows.find_label_errors import find_label_errors

    find_label_errors(options, folds)
