"""A fine-tuned model beside the Segment Anything family, in numbers and pictures.

    python scripts/compare_sam.py --model_name_or_path runs/voc --sam facebook/sam2.1-hiera-tiny \\
        --dataset_name voc --dataset_path DIR --max_eval_samples 50

Four ways, of which only the first is all the model's: (1) the model; (2) SAM's masks with their
true classes, an upper bound; (3) SAM prompted by the model; (4) SAM's masks with the classes that
the model votes. --sam takes SAM, SAM 2, SAM-HQ or EdgeTAM. It writes results.json, results.md,
comparison.csv, images.csv and figures into --output_dir.
"""

from hfseg.cli import run_main


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser, parse_data

    parser = Parser(
        prog="compare_sam.py",
        description="Compare a segmentation checkpoint with a model of the SAM family.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model_name_or_path", metavar="MODEL", required=True, help="a model folder or Hub id"
    )
    parser.add_argument(
        "--sam",
        metavar="SAM",
        required=True,
        help="SAM, SAM 2, SAM-HQ or EdgeTAM: a folder or Hub id, such as "
        "facebook/sam2.1-hiera-tiny",
    )
    parser.add_argument("--split", default="validation", help="[validation]")
    parser.add_argument(
        "--prompts",
        default="boxes",
        help="what SAM is told of a predicted region: boxes, points or both [boxes]",
    )
    parser.add_argument(
        "--points_per_side", type=int, default=32, metavar="N", help="of SAM's grid [32]"
    )
    parser.add_argument(
        "--points_per_batch", type=int, default=64, metavar="N", help="less needs less memory [64]"
    )
    parser.add_argument(
        "--pred_iou_thresh", type=float, default=0.88, metavar="X",
        help="drop masks whose predicted IoU is not above [0.88]",
    )  # fmt: skip
    parser.add_argument(
        "--stability_score_thresh", type=float, default=0.95, metavar="X",
        help="drop masks whose stability is not above [0.95]",
    )  # fmt: skip
    parser.add_argument(
        "--num_figures", type=int, default=6, metavar="N",
        help="images drawn, evenly over the split [6]",
    )  # fmt: skip
    parser.add_argument("--dtype", default="fp32", help="of both: fp32, bf16 or fp16 [fp32]")
    parser.add_argument(
        "--label_map",
        metavar="FILE",
        help="JSON or YAML of `model's name: data set's name` [equal names]",
    )
    parser.add_argument("--trust_remote_code", action="store_true")
    parser.add_argument(
        "--output_dir", metavar="DIR", help="[runs/compare_sam/MODEL-SAM-DATASET-SPLIT]"
    )
    parser.add_argument("--overwrite_output_dir", action="store_true")
    data, own = parse_data(parser, argv)

    from hfseg.workflows.compare_sam import Comparing, compare_sam

    compare_sam(Comparing(**vars(own)), data)


if __name__ == "__main__":
    run_main(main)
