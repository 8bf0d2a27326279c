"""`hfseg benchmark`: speed compared with the pipeline, and peak memory.

Peak memory is measured per process, so those jobs run in a child process:
`python -m hfseg.workflows.benchmark JOB`.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    pipeline,
)
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.utils.logging import set_verbosity_error

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import EvaluationArguments
from hfseg.data.image_io import image_files
from hfseg.inference import Segmenter
from hfseg.workflows.evaluate import evaluate_model

_ROUNDS = 3


def speed(model: str, images: str, most: int, dtype: str, compile: bool) -> None:
    """Run both in turn on the same files, and compare their best rounds."""
    set_verbosity_error()
    files = [str(path) for path in image_files(images)[:most]]
    theirs = pipeline("image-segmentation", model=model, device="cpu")
    ours = Segmenter.from_pretrained(model, device="cpu", dtype=dtype, compile=compile)
    same, pixels = 0, 0
    times: dict[str, list[float]] = {"pipeline": [], "segmenter": []}
    for path in files[:2]:
        theirs(path), ours(path)  # warm-up
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
        f"{len(files)} images: pipeline {best['pipeline'] * 1e3:.1f} ms per image, Segmenter "
        f"({how}) {best['segmenter'] * 1e3:.1f} ms, {ratio:.2f} times as fast; "
        f"{same / pixels:.4%} of the pixels agree"
    )


def tile(side: int) -> None:
    found = _in_child("tile", {"side": side})
    print(
        f"{side} x {side} pixels: {found['seconds']:.0f} s, peak memory "
        f"{found['peak'] / 2**30:.2f} GiB, mask correct: {found['correct']}"
    )


def memory(few: int, many: int) -> None:
    peaks = [_in_child("memory", {"count": count})["peak"] for count in (few, many)]
    for count, peak in zip((few, many), peaks, strict=True):
        print(f"evaluation of {count} images: peak memory {peak / 2**20:.0f} MiB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def _in_child(what: str, job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "hfseg.workflows.benchmark", json.dumps({"what": what, **job})]
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
    """Predict each pixel's brightest channel, so that the correct mask is known."""

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
    correct = all(
        (
            mask[top : top + 500]
            == np.asarray(image.crop((0, top, side, min(top + 500, side)))).argmax(2)
        ).all()
        for top in range(0, side, 500)
    )
    return {"correct": bool(correct)}


def _evaluate(count: int) -> dict[str, Any]:
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
                EvaluationArguments(
                    model_name_or_path=str(folder / "model"), output_dir=str(folder / "out")
                ),
                DataArguments(dataset_name="folder", dataset_path=str(folder / "data")),
            )
    return {}


if __name__ == "__main__":
    print(json.dumps(_alone(json.loads(sys.argv[1]))))
