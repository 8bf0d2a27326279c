"""Segment images, folders of images, and videos with a trained model.

    hfseg predict --model_name_or_path runs/quickstart --output_dir out photos/
    hfseg predict --model_name_or_path me/aerial --output_dir out tile.tif --sliding_window 1024

It writes out/masks/NAME.png (class ids, colored when viewed), out/overlays/NAME.jpg and
out/legend.png; for videos out/masks/NAME/000000.png, ... and out/overlays/NAME.webm.
If run again, it continues with the images that have no mask yet.
"""

from hfseg.config.evaluation import PredictionArguments
from hfseg.config.parser import OptionParser


def main(argv: list[str]) -> None:
    parser = OptionParser(PredictionArguments, prog="hfseg predict", description=__doc__)
    parser.add_argument("inputs", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--output_dir", metavar="DIR", required=True, help="where masks go")
    parser.add_argument("--overwrite", action="store_true", help="replace existing predictions")
    options, own = parser.parse_groups(argv)

    from hfseg.processes import Processes
    from hfseg.workflows.predict_files import predict

    count = predict(options, own.inputs, own.output_dir, own.overwrite)
    if Processes().is_first:
        print(f"{count} segmented, in {own.output_dir}")
