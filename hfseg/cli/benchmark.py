"""Measure speed and memory on this machine.

    hfseg benchmark speed --model_name_or_path MODEL --images DIR [--dtype bf16] [--compile]
    hfseg benchmark tile [--side 12000]
    hfseg benchmark memory

`speed` compares `Segmenter` with pipeline("image-segmentation") on a folder: time per image, and
agreement of the masks. `tile` prints the peak memory of a huge image in a sliding window. `memory`
prints the peak memory of evaluating 200 and 2,000 generated images.
"""

from hfseg.config.parser import OptionParser
from hfseg.errors import UserError


def main(argv: list[str]) -> None:
    parser = OptionParser(prog="hfseg benchmark", description=__doc__)
    parser.add_argument("what", choices=("speed", "tile", "memory"))
    parser.add_argument("--model_name_or_path", metavar="MODEL", help="a model folder or Hub id")
    parser.add_argument("--images", metavar="DIR", help="a folder of photos")
    parser.add_argument("--max_images", type=int, default=100, metavar="N", help="photos used")
    parser.add_argument("--dtype", default="fp32", help="of the Segmenter")
    parser.add_argument("--compile", action="store_true", help="compile the Segmenter's model")
    parser.add_argument("--side", type=int, default=12000, metavar="N", help="side in pixels")
    parser.add_argument(
        "--counts", type=int, nargs=2, default=(200, 2000), metavar="N", help="numbers of images"
    )
    (own,) = parser.parse_groups(argv)

    from hfseg.workflows import benchmark

    if own.what == "tile":
        benchmark.tile(own.side)
    elif own.what == "memory":
        benchmark.memory(*own.counts)
    elif own.model_name_or_path is None or own.images is None:
        raise UserError("hfseg benchmark speed: give --model_name_or_path and --images")
    else:
        benchmark.speed(own.model_name_or_path, own.images, own.max_images, own.dtype, own.compile)
