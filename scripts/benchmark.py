"""Measure what hfseg says of itself, on your machine.

python scripts/benchmark.py speed --model_name_or_path MODEL --images DIR [--dtype bf16] [--compile]
    `Segmenter` on a folder against pipeline("image-segmentation"): same masks, ratio of times
python scripts/benchmark.py tile [--side 12000]
    peak memory of a huge image under a sliding window, and whether its mask is right
python scripts/benchmark.py memory
    peak memory of evaluating 2,000 generated images against 200
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hfseg.cli import run_main
from hfseg.errors import UserError

_ROUNDS = 3


def main(argv: list[str]) -> None:
    from hfseg.training.parse import Parser

    parser = Parser(
        prog="benchmark.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("what", choices=("speed", "tile", "memory"))
    parser.add_argument("--model_name_or_path", metavar="MODEL")
    parser.add_argument("--images", metavar="DIR", help="a folder of photos")
    parser.add_argument("--max_images", type=int, default=100, help="[100]")
    parser.add_argument("--dtype", default="fp32", help="of the Segmenter: fp32, bf16 [fp32]")
    parser.add_argument("--compile", action="store_true", help="the Segmenter's model")
    parser.add_argument("--side", type=int, default=12000, help="pixels [12000]")
    parser.add_argument("--counts", type=int, nargs=2, default=(200, 2000), help="[200 2000]")
    parser.add_argument("--alone", metavar="JOB", help=argparse.SUPPRESS)
    flags = parser.parse_args(argv)
    if flags.alone is not None:
        print(json.dumps(_alone(json.loads(flags.alone))))
    elif flags.what == "speed":
        if flags.model_name_or_path is None or flags.images is None:
            raise UserError("speed needs --model_name_or_path and --images")
        speed(flags.model_name_or_path, flags.images, flags.max_images, flags.dtype, flags.compile)
    elif flags.what == "tile":
        found = _in_child("tile", {"side": flags.side})
        print(
            f"{flags.side} x {flags.side} pixels: {found['seconds']:.0f} s, peak memory "
            f"{found['peak'] / 2**30:.2f} GiB, mask right: {found['right']}"
        )
    else:
        memory(*flags.counts)


def speed(model: str, images: str, most: int, dtype: str, compile: bool) -> None:
    """Alternate both over the same files, and compare the best rounds."""
    import numpy as np
    from transformers import pipeline
    from transformers.utils.logging import set_verbosity_error

    from hfseg.data.image_io import image_files
    from hfseg.inference import Segmenter

    set_verbosity_error()
    files = [str(path) for path in image_files(images)[:most]]
    theirs = pipeline("image-segmentation", model=model, device="cpu")
    ours = Segmenter.from_pretrained(model, device="cpu", dtype=dtype, compile=compile)
    same, pixels = 0, 0
    times: dict[str, list[float]] = {"pipeline": [], "segmenter": []}
    for path in files[:2]:
        theirs(path), ours(path)  # warm
    for round_ in range(_ROUNDS):
        start = time.perf_counter()
        segments = [theirs(path) for path in files]
        times["pipeline"].append(time.perf_counter() - start)
        start = time.perf_counter()
        masks = [result.mask for result in ours(iter(files))]
        times["segmenter"].append(time.perf_counter() - start)
        if round_ == 0:
            for mask, parts in zip(masks, segments, strict=True):
                for part in parts:
                    index = ours.labels.label2id[part["label"]]
                    same += ((np.asarray(part["mask"]) == 255) & (mask == index)).sum()
                pixels += mask.size
        del segments, masks
    best = {name: min(values) / len(files) for name, values in times.items()}
    ratio = best["pipeline"] / best["segmenter"]
    how = f"{dtype}, compiled" if compile else dtype
    print(
        f"{len(files)} images: pipeline {best['pipeline'] * 1e3:.1f} ms an image, Segmenter "
        f"({how}) {best['segmenter'] * 1e3:.1f} ms, {ratio:.2f} times as fast; "
        f"{same / pixels:.4%} of the pixels agree"
    )


def memory(few: int, many: int) -> None:
    peaks = [_in_child("memory", {"count": count})["peak"] for count in (few, many)]
    for count, peak in zip((few, many), peaks, strict=True):
        print(f"evaluation of {count} images: peak memory {peak / 2**20:.0f} MiB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def _in_child(what: str, job: dict[str, Any]) -> dict[str, Any]:
    """Peak memory can only be read of a whole process."""
    command = [sys.executable, __file__, what, "--alone", json.dumps({"what": what, **job})]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _alone(job: dict[str, Any]) -> dict[str, Any]:
    import resource

    start = time.perf_counter()
    found = _tile(job["side"]) if job["what"] == "tile" else _evaluate(job["count"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    return {**found, "peak": peak, "seconds": time.perf_counter() - start}


def _tile(side: int) -> dict[str, Any]:
    """A model that looks at single pixels, for their brightest channel: the mask is known."""
    import numpy as np
    import torch
    from PIL import Image
    from transformers import PreTrainedConfig, PreTrainedModel, SegformerImageProcessor
    from transformers.modeling_outputs import SemanticSegmenterOutput

    from hfseg.inference import Segmenter

    class Brightest(PreTrainedModel):
        config_class = PreTrainedConfig

        def __init__(self, config: PreTrainedConfig) -> None:
            super().__init__(config)
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, pixel_values: torch.Tensor) -> SemanticSegmenterOutput:
            return SemanticSegmenterOutput(logits=pixel_values * self.scale)

    names = {0: "red", 1: "green", 2: "blue"}
    model = Brightest(PreTrainedConfig(id2label=names))
    processor = SegformerImageProcessor(do_resize=False, do_normalize=False, do_rescale=False)
    Image.MAX_IMAGE_PIXELS = None
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    del pixels
    mask = Segmenter(model, processor)(image, sliding_window=1024).mask
    right = all(
        (
            mask[top : top + 500]
            == np.asarray(image.crop((0, top, side, min(top + 500, side)))).argmax(2)
        ).all()
        for top in range(0, side, 500)
    )
    return {"right": bool(right)}


def _evaluate(count: int) -> dict[str, Any]:
    import contextlib
    import io

    import numpy as np
    import torch
    from PIL import Image
    from transformers import (
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessor,
    )

    from hfseg.training.arguments import DataArguments
    from hfseg.workflows.evaluate import Evaluating, evaluate_model

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = [f"class {index}" for index in range(20)]
        config = SegformerConfig(
            hidden_sizes=[8] * 4, depths=[1] * 4, num_attention_heads=[1] * 4,
            decoder_hidden_size=8, id2label=dict(enumerate(names)),
        )  # fmt: skip
        SegformerForSemanticSegmentation(config).save_pretrained(folder / "model")
        SegformerImageProcessor(do_resize=False).save_pretrained(folder / "model")
        for split, number in (("train", 1), ("validation", count)):
            for kind in ("images", "masks"):
                (folder / "data" / split / kind).mkdir(parents=True)
            for index in range(number):
                generator = np.random.default_rng(index)
                image = generator.integers(0, 256, (96, 128, 3), dtype=np.uint8)
                mask = generator.integers(0, 20, (6, 8), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
                name = f"{index}.png"
                Image.fromarray(image).save(folder / "data" / split / "images" / name)
                Image.fromarray(mask).save(folder / "data" / split / "masks" / name)
        (folder / "data" / "classes.txt").write_text("\n".join(names))
        with contextlib.redirect_stdout(io.StringIO()):
            evaluate_model(
                Evaluating(str(folder / "model"), output_dir=str(folder / "out")),
                DataArguments(dataset_name="folder", dataset_path=str(folder / "data")),
            )
    return {}


if __name__ == "__main__":
    run_main(main)
