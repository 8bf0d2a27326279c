"""`hfseg benchmark data`: how fast training images become batches on the device.

Both pipelines do the same work: decode, pad, random crop, random flip, normalize. One is the
loader of `SegmentationTrainer`, the other that of transformers' example.
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hfseg.config.data import AugmentedDataArguments
from hfseg.data import load_dataset
from hfseg.data.rows import features
from hfseg.data.samples import TrainingSamples
from hfseg.data.transforms import Size, TrainingTransform
from hfseg.labels import LabelSet
from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare
from hfseg.workflows.benchmark.example import example_trainer

if TYPE_CHECKING:
    import datasets

_CLASSES = LabelSet(tuple(f"class {index}" for index in range(21)))


@dataclass(frozen=True)
class Photos:
    """Drawn photos of a kind that datasets have, and their masks.

    Attributes:
        format: of the images, as Pillow names it; masks are PNG.
        width, height: in pixels.
    """

    format: str
    width: int
    height: int

    @property
    def name(self) -> str:
        return f"{self.format} {self.width} x {self.height}"

    def rows(self, count: int) -> "datasets.Dataset":
        """Columns `image` and `label`, encoded."""
        import datasets

        rows = [self._row(np.random.default_rng(index)) for index in range(count)]
        return datasets.Dataset.from_list(rows, features=features())

    def _row(self, random: np.random.Generator) -> dict[str, Any]:
        # as much detail as a photo has: a JPEG of 500 x 375 pixels takes about 60 kB
        image = np.sum([self._texture(random, cell) for cell in (4, 16, 64)], axis=0)
        mask = self._texture(random, 64).mean(2) // 13
        return {
            "image": {"bytes": _encoded((image / 3).astype(np.uint8), self.format)},
            "label": {"bytes": _encoded(mask.clip(0, 20).astype(np.uint8), "PNG")},
        }

    def _texture(self, random: np.random.Generator, cell: int) -> np.ndarray:
        """(H, W, 3) float: smooth colors that change from cell to cell."""
        grid = random.integers(0, 256, (self.height // cell + 1, self.width // cell + 1, 3))
        small = Image.fromarray(grid.astype(np.uint8))
        return np.asarray(small.resize((self.width, self.height)), dtype=np.float64)


PHOTOS = (Photos("JPEG", 500, 375), Photos("PNG", 960, 720), Photos("PNG", 2048, 1024))


def _encoded(pixels: np.ndarray, format: str) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 90} if format == "JPEG" else {"compress_level": 6}
    Image.fromarray(pixels).save(buffer, format=format, **options)
    return buffer.getvalue()


def benchmark_data(
    wanted: AugmentedDataArguments,
    *,
    images: int,
    batch_size: int,
    workers: Sequence[int],
    repeats: int,
) -> list[Comparison]:
    """Both pipelines over `images` images, for each number of workers.

    Args:
        wanted: a dataset; without one, each of `PHOTOS` is drawn.
        workers: numbers of data workers to measure with.
    """
    crop = wanted.crop_size or (256, 256)
    found = []
    for name, rows, labels in _datasets(wanted, images):
        for count in workers:
            with tempfile.TemporaryDirectory() as folder:
                pipelines = _pipelines(rows, labels, crop, batch_size, count, Path(folder))
                title = f"{name}, crops of {crop[0]} x {crop[1]}, {count} data workers"
                amount = len(rows) // batch_size * batch_size
                found.append(
                    compare(title, pipelines, unit="image", amount=amount, repeats=repeats)
                )
    return found


def _datasets(
    wanted: AugmentedDataArguments, images: int
) -> "Iterator[tuple[str, datasets.Dataset, LabelSet]]":
    if wanted.dataset_name is None:
        for photos in PHOTOS:
            yield photos.name, photos.rows(images), _CLASSES
        return
    data, labels = load_dataset(
        wanted.dataset_name, wanted.dataset_path, **wanted.dataset_options()
    )
    rows = data["train"].select(range(min(images, len(data["train"]))))
    yield wanted.dataset_name, rows, labels


def _pipelines(
    rows: "datasets.Dataset",
    labels: LabelSet,
    crop: Size,
    batch_size: int,
    workers: int,
    folder: Path,
) -> list[Contender]:
    from hfseg.config.training import SegmentationTrainingArguments
    from hfseg.metrics.streaming import StreamingScores
    from hfseg.models import load_model
    from hfseg.training.trainer import SegmentationTrainer

    model, processor = load_model("segformer-tiny", labels, pretrained=False)
    options: dict[str, Any] = {
        "per_device_train_batch_size": batch_size,
        "dataloader_num_workers": workers,
        "dataloader_drop_last": True,
        "dataloader_persistent_workers": workers > 0,  # not measured: how they start
    }
    ours = SegmentationTrainer(
        model=model,
        args=SegmentationTrainingArguments(
            output_dir=str(folder / "ours"), eval_strategy="no", save_strategy="no", **options
        ),
        train_dataset=TrainingSamples(rows, TrainingTransform("light", crop, seed=0)),
        image_processor=processor,
        scores=StreamingScores(labels),
    )
    example = example_trainer(
        model, processor, rows, crop=crop, output_dir=str(folder / "example"),
        use_cpu=ours.args.device.type == "cpu", **options,
    )  # fmt: skip
    return [_epoch("transformers' example", example), _epoch("hfseg", ours)]


def _epoch(name: str, trainer: Any) -> Contender:
    loader = trainer.get_train_dataloader()

    def read() -> None:
        for batch in loader:
            trainer._prepare_inputs(batch)

    return Contender.timed(name, read)
