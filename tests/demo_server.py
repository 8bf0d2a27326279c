"""The demo page with very small models, served on a free port; and a browser for it."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image
from tiny_sams import tiny_sam2
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from hfseg.data.toyscapes import LABELS
from hfseg.inference import Segmenter

DEMO = REPOSITORY / "demo"
sys.path.insert(0, str(REPOSITORY))

CHROMIUM = shutil.which("chromium")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="browser: install Chromium (apt-get install chromium)"
)


def tiny_segmenter(names: tuple[str, ...] = LABELS.names, seed: int = 0) -> Segmenter:
    """A random SegFormer; one with the names of toyscapes brings the examples with it."""
    torch.manual_seed(seed)
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    model = SegformerForSemanticSegmentation(config)
    with torch.no_grad():  # with the initial range of 0.02 one class would win everywhere
        for parameter in model.decode_head.parameters():
            parameter.normal_()
    return Segmenter(model, SegformerImageProcessor(do_resize=False))


class DemoPage(NamedTuple):
    """A running page: what it shows, its temporary folder, its address."""

    models: Any
    folder: Path
    address: str


class EagerSam:
    """A tiny SAM of random weights whose masks all count, as its scores mean nothing; for speed
    it is asked at few points."""

    def __init__(self) -> None:
        from hfseg.sam import SamPredictor

        self._predictor = SamPredictor(*tiny_sam2())

    def segment_everything(self, image: Image.Image, points_per_side: int) -> Any:
        return self._predictor.segment_everything(
            image,
            points_per_side=min(points_per_side, 4),
            pred_iou_thresh=0.0,
            stability_score_thresh=0.0,
            box_nms_thresh=2.0,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


def tiny_models(sam: Any = None) -> Any:
    """Two models as `demo/app.py` would load them; the second one numbers its classes backwards."""
    from demo.shown_models import ShownModels

    second = tiny_segmenter(LABELS.names[::-1], seed=1)
    return ShownModels({"first": tiny_segmenter(), "second": second}, sam)


@contextmanager
def served(models: Any, folder: Path) -> Iterator[str]:
    """The address of the page; its temporary folder is `folder`."""
    from demo import app as demo

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        page = demo.build_app(models)
        _, url, _ = page.launch(
            server_name="127.0.0.1",
            server_port=free_port(),
            prevent_thread_lock=True,
            quiet=True,
            **demo.launch_options(page),
        )
        yield url
        page.close(verbose=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def save_tiny_segmenter(folder: Path) -> Segmenter:
    segmenter = tiny_segmenter()
    segmenter.model.save_pretrained(folder)
    segmenter.image_processor.save_pretrained(folder)
    return segmenter


@contextmanager
def started(
    command: Sequence[object], port: int, log: Path, **options: Any
) -> Iterator[subprocess.Popen]:
    """A page in a process of its own, from when it answers at the port; it is ended afterwards.

    Args:
        log: what it writes.
        options: of `subprocess.Popen`.
    """
    with log.open("w") as file:
        server = subprocess.Popen([*map(str, command)], stdout=file, stderr=file, **options)
    health = f"http://127.0.0.1:{port}/gradio_api/run/health"
    try:
        while True:
            assert server.poll() is None, log.read_text()
            try:
                httpx.post(health, json={"data": []}, timeout=60)
                break
            except httpx.TransportError:  # not up yet
                time.sleep(0.25)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(60)
        finally:
            server.kill()


def draw_photo(path: Path, size: tuple[int, int] = (90, 60)) -> Path:
    coarse = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path
