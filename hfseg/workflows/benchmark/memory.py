"""`hfseg benchmark memory`: peak memory, which must not grow with the number of images.

The peak is counted per process, so each job has one of its own:
`python -m hfseg.workflows.benchmark.memory JOB`.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
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
)
from transformers.modeling_outputs import SemanticSegmenterOutput

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import EvaluationArguments
from hfseg.inference import Segmenter
from hfseg.workflows.evaluate import evaluate_model


def benchmark_memory(few: int, many: int, side: int) -> None:
    """Print the peaks of an evaluation of `few` and of `many` generated images, and of one of
    `side` x `side` pixels in a sliding window; as the last line as JSON."""
    counts = {str(count): _in_child("evaluate", count)["peak"] for count in (few, many)}
    for count, peak in counts.items():
        print(f"evaluation of {count} images: peak memory {peak / 2**20:.0f} MiB")
    print(f"  ratio {counts[str(many)] / counts[str(few)]:.3f}")
    tiled = _in_child("tile", side)
    print(
        f"{side} x {side} pixels in a sliding window: peak memory {tiled['peak'] / 2**30:.2f} GiB, "
        f"mask correct: {tiled['correct']}"
    )
    found = {"evaluation": counts, "sliding_window": {"side": side, **tiled}}
    print(json.dumps(found), flush=True)


def _in_child(what: str, amount: int) -> dict[str, Any]:
    """What the job found, and its `peak` in bytes."""
    command = [sys.executable, "-m", __name__, json.dumps({"what": what, "amount": amount})]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _alone(job: dict[str, Any]) -> dict[str, Any]:
    import resource

    found = (_tile if job["what"] == "tile" else _evaluate)(job["amount"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "peak": peak * (1 if sys.platform == "darwin" else 1024)}


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
