"""Score any segmentation checkpoint on any labelled split, at the labels' own size.

    python scripts/evaluate_model.py --model_name_or_path runs/quickstart --dataset_name toyscapes
    python scripts/evaluate_model.py --model_name_or_path me/model --dataset_name cityscapes \\
        --dataset_path DIR --sliding_window 1024 --stride 768 --tta flip,0.75,1.0,1.25

Pixels are fed exactly as `hfseg.Segmenter` feeds them. It writes results.json, results.md,
images.csv (the worst image first) and figures into --output_dir; `accelerate launch` shares the
images among processes.
"""

from hfseg.cli import run_main


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser, parse_data

    parser = Parser(
        prog="evaluate_model.py",
        description="Score a segmentation checkpoint on a labelled split.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model_name_or_path", metavar="MODEL", required=True, help="a model folder or Hub id"
    )
    parser.add_argument("--split", default="validation", help="[validation]")
    parser.add_argument(
        "--sliding_window", type=int, metavar="PIXELS", help="predict in tiles of this size"
    )
    parser.add_argument("--stride", type=int, metavar="PIXELS", help="[3/4 of the window]")
    parser.add_argument("--tta", metavar="VIEWS", help="such as flip,0.75,1.0,1.25")
    parser.add_argument("--dtype", default="fp32", help="fp32, bf16 or fp16 [fp32]")
    parser.add_argument(
        "--label_map",
        metavar="FILE",
        help="JSON or YAML of `model's name: data set's name` [equal names]",
    )
    parser.add_argument(
        "--check_card",
        action="store_true",
        help="compare with the mean_iou its model card claims; exit 1 if they differ",
    )
    parser.add_argument("--trust_remote_code", action="store_true")
    parser.add_argument("--output_dir", metavar="DIR", help="[runs/evaluate/MODEL-DATASET-SPLIT]")
    parser.add_argument("--overwrite_output_dir", action="store_true")
    data, own = parse_data(parser, argv)

    from hfseg.workflows.evaluate import Evaluating, evaluate_model

    evaluate_model(Evaluating(**vars(own)), data)


if __name__ == "__main__":
    run_main(main)
