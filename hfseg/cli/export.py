"""Export a trained model to ONNX, and compare onnxruntime with torch on images.

    hfseg export --model_name_or_path runs/quickstart --images photos/

It writes model.onnx, and onnx.md with text for the model card, into the model's folder or
--output_dir. The input size is dynamic if the export is correct at the traced size and two others,
and fixed otherwise.
"""

from hfseg.config.parser import OptionParser
from hfseg.config.values import ImageSize


def main(argv: list[str]) -> None:
    parser = OptionParser(prog="hfseg export", description=__doc__)
    parser.add_argument(
        "--model_name_or_path", metavar="MODEL", required=True, help="a model folder or Hub id"
    )
    parser.add_argument("--output_dir", metavar="DIR", help="default: the model's folder")
    parser.add_argument("--image_size", type=ImageSize, metavar="HxW", help="size used for tracing")
    parser.add_argument("--fixed_size", action="store_true", help="don't try dynamic sizes")
    parser.add_argument(
        "--images", metavar="DIR", help="photos for the comparison (default: scenes of toyscapes)"
    )
    parser.add_argument("--trust_remote_code", action="store_true", help="run a model's own code")
    parser.add_argument("--overwrite", action="store_true", help="replace model.onnx")
    (own,) = parser.parse_groups(argv)

    from hfseg.workflows.export import export

    export(
        own.model_name_or_path,
        output_dir=own.output_dir,
        image_size=own.image_size,
        fixed_size=own.fixed_size,
        images=own.images,
        trust_remote_code=own.trust_remote_code,
        overwrite=own.overwrite,
    )
