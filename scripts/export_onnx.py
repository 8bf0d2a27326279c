"""Export a trained model to ONNX and compare it with torch on images, in onnxruntime.

    python scripts/export_onnx.py --model_name_or_path runs/quickstart --images photos/

It writes model.onnx, and onnx.md with lines for the model card, beside the model or into
--output_dir. Sizes are dynamic where that is right at the traced size and two others; a model
that isn't gets a fixed size.
"""

import argparse
from pathlib import Path

from hfseg.cli import run_main
from hfseg.errors import UserError

_IMAGES = 8


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser

    parser = Parser(
        prog="export_onnx.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model_name_or_path", metavar="MODEL", required=True, help="a model folder or Hub id"
    )
    parser.add_argument("--output_dir", metavar="DIR", help="[the model's folder]")
    parser.add_argument("--image_size", default=None, help="HxW that is traced [512x512]")
    parser.add_argument("--fixed_size", action="store_true", help="don't try dynamic sizes")
    parser.add_argument(
        "--images",
        metavar="DIR",
        help=f"photos to compare on, the first {_IMAGES} [scenes of toyscapes]",
    )
    parser.add_argument("--trust_remote_code", action="store_true")
    parser.add_argument("--overwrite", action="store_true", help="replace model.onnx")
    flags = parser.parse_args(argv)

    from hfseg.data.image_io import image_files, to_rgb
    from hfseg.data.transforms import parse_size
    from hfseg.inference.load_checkpoint import load_trained
    from hfseg.inference.onnx_export import example_images, export_onnx, usage

    local = Path(flags.model_name_or_path).is_dir()
    if flags.output_dir is None and not local:
        raise UserError("give --output_dir: a model of the Hub has no folder here")
    folder = Path(flags.output_dir or flags.model_name_or_path)
    path = folder / "model.onnx"
    if path.exists() and not flags.overwrite:
        raise UserError(f"{path} is there already; replace it (--overwrite) or give --output_dir")
    model, processor = load_trained(
        flags.model_name_or_path, trust_remote_code=flags.trust_remote_code
    )
    size = parse_size("--image_size", flags.image_size) or _size_of(processor)
    if flags.images is None:
        images = example_images(_IMAGES)
    else:
        images = [to_rgb(file) for file in image_files(flags.images)[:_IMAGES]]
    folder.mkdir(parents=True, exist_ok=True)
    exported = export_onnx(model, processor, images, path, size, flags.fixed_size)
    if folder != Path(flags.model_name_or_path):
        processor.save_pretrained(folder)
    (folder / "onnx.md").write_text(
        usage(folder.resolve().name, size, exported.dynamic), encoding="utf-8"
    )
    for each in exported.parities:
        print(
            f"{each.size[0]} x {each.size[1]}: {each.agreement:.4%} of pixels agree on the worst "
            f"of {len(images)} images; logits differ by at most {each.difference:.2g}"
        )
    kind = "any batch and size" if exported.dynamic else f"fixed at 1 x 3 x {size[0]} x {size[1]}"
    print(f"{path}: {kind}", flush=True)


def _size_of(processor: object) -> tuple[int, int]:
    size = dict(getattr(processor, "size", None) or {})
    if getattr(processor, "do_resize", False) and {"height", "width"} <= size.keys():
        return int(size["height"]), int(size["width"])
    return 512, 512


if __name__ == "__main__":
    run_main(main)
