"""Segment images and folders of images with a trained model.

    python scripts/predict.py --model_name_or_path runs/quickstart --output_dir out photos/
    python scripts/predict.py --model_name_or_path me/aerial --output_dir out tile.tif \\
        --sliding_window 1024

It writes out/masks/NAME.png (class ids, coloured when viewed), out/overlays/NAME.jpg and
out/legend.png. Started again it goes on with the images that have no mask yet.
"""

import argparse

from hfseg.cli import run_main


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser

    parser = Parser(
        prog="predict.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("inputs", nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument(
        "--model_name_or_path", metavar="MODEL", required=True, help="a model folder or Hub id"
    )
    parser.add_argument("--output_dir", metavar="DIR", required=True)
    parser.add_argument(
        "--sliding_window", type=int, metavar="PIXELS", help="predict in tiles of this size"
    )
    parser.add_argument("--stride", type=int, metavar="PIXELS", help="[3/4 of the window]")
    parser.add_argument("--tta", metavar="VIEWS", help="such as flip,0.75,1.0,1.25")
    parser.add_argument("--dtype", default="fp32", help="fp32, bf16 or fp16 [fp32]")
    parser.add_argument("--trust_remote_code", action="store_true")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace predictions that are there already"
    )
    flags = parser.parse_args(argv)

    from hfseg.inference.result import Options
    from hfseg.inference.segmenter import Segmenter
    from hfseg.workflows.predict_files import predict_files

    options = Options.make(flags.sliding_window, flags.stride, flags.tta)
    settings = {
        "model": flags.model_name_or_path,
        "sliding_window": flags.sliding_window,
        "stride": flags.stride,
        "tta": flags.tta,
        "dtype": flags.dtype,
    }

    def load() -> Segmenter:
        return Segmenter.from_pretrained(
            flags.model_name_or_path,
            trust_remote_code=flags.trust_remote_code,
            dtype=flags.dtype,
        )

    count = predict_files(load, flags.inputs, flags.output_dir, settings, options, flags.overwrite)
    print(f"{count} masks in {flags.output_dir}")


if __name__ == "__main__":
    run_main(main)
