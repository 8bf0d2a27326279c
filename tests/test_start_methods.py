"""Data workers that inherit nothing (`spawn`, `forkserver`) do what forked ones do.

macOS and Windows spawn, and Python 3.14 uses a fork server on Linux.
"""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from conftest import make_folder
from launch import REPOSITORY, run_script
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import SegformerImageProcessor

from hfseg.data import load_dataset
from hfseg.data.resized import resized_rows
from hfseg.data.samples import Collator, EvaluationSamples, TrainingSamples
from hfseg.data.streaming import StreamedTrainingSamples
from hfseg.data.transforms import TrainingTransform

METHODS = ("spawn", "forkserver")
PROCESSOR = SegformerImageProcessor(size={"height": 24, "width": 32})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("start") / "data", count=10)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub dataset as a folder: 8 training samples in two parquet files, 2 to validate."""
    home = tmp_path_factory.mktemp("shards")
    columns = datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})
    for name, first, count in (("train-0", 0, 4), ("train-1", 4, 4), ("validation-0", 8, 2)):
        rows: dict[str, list[bytes]] = {"image": [], "mask": []}
        for index in range(first, first + count):
            rng = np.random.default_rng(index)
            rows["image"].append(_png(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)))
            rows["mask"].append(_png(rng.integers(0, 2, (32, 48), dtype=np.uint8)))
        part = datasets.Dataset.from_dict(rows, features=columns)
        (home / "data").mkdir(exist_ok=True)
        part.to_parquet(home / "data" / f"{name}.parquet")
    (home / "id2label.json").write_text('{"0": "ground", "1": "wall"}')
    return home


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def training_samples(folder: Path, *, cached: bool) -> TrainingSamples:
    rows: Any = load_dataset("folder", str(folder))[0]["train"]
    if cached:
        rows = resized_rows(rows, PROCESSOR)
    return TrainingSamples(rows, TrainingTransform("strong", (16, 16), 0))


@pytest.mark.parametrize("cached", [False, True], ids=["datasets", "--cache_resized"])
def test_training_samples_pickle_after_use(folder: Path, cached: bool) -> None:
    samples = training_samples(folder, cached=cached)
    before = samples[1, 2]
    after = pickle.loads(pickle.dumps(samples))[1, 2]
    np.testing.assert_array_equal(before["image"], after["image"])
    np.testing.assert_array_equal(before["label"], after["label"])


def test_evaluation_samples_and_the_collator_pickle_after_use(folder: Path) -> None:
    samples = EvaluationSamples(load_dataset("folder", str(folder))[0]["validation"])
    collator = Collator(PROCESSOR, resize=True)
    before = collator([samples[0]])
    copies, collate = pickle.loads(pickle.dumps((samples, collator)))
    assert (collate([copies[0]])["pixel_values"] == before["pixel_values"]).all()


@pytest.mark.parametrize("on_bad_sample", ["stop", "skip"])
def test_a_stream_pickles(shards: Path, on_bad_sample: str) -> None:
    data, _ = load_dataset(str(shards), streaming=True, on_bad_sample=on_bad_sample)
    samples = StreamedTrainingSamples(
        data["train"], TrainingTransform("light", (16, 16), 0), passes=1
    )
    before = [sample["index"] for sample in samples]
    assert [sample["index"] for sample in pickle.loads(pickle.dumps(samples))] == before
    assert len(before) == 8


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_inherits_nothing_draws_the_same_samples(folder: Path, method: str) -> None:
    samples = training_samples(folder, cached=False)
    keys = [(epoch, index) for epoch in range(2) for index in range(3)]

    def batches(**workers: Any) -> list[dict[str, Any]]:
        collate = Collator(PROCESSOR, resize=False)
        return list(DataLoader(samples, sampler=keys, collate_fn=collate, **workers))

    for one, other in zip(
        batches(), batches(num_workers=1, multiprocessing_context=method), strict=True
    ):
        assert (one["pixel_values"] == other["pixel_values"]).all()
        assert (one["labels"] == other["labels"]).all()


@pytest.fixture
def started_by(tmp_path: Path):
    """Environment in which every Python process starts its workers by a given method."""

    def environment(method: str) -> dict[str, str]:
        (tmp_path / "sitecustomize.py").write_text(
            f"import multiprocessing\nmultiprocessing.set_start_method({method!r}, force=True)\n"
        )
        return {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}

    return environment


def train(output: Path, *flags: object, **environment: str) -> Path:
    run_script(
        "finetune.py", *flags, "--output_dir", output, "--from_scratch",
        "--model_name_or_path", "segformer-tiny", "--crop_size", 32, "--max_steps", 2,
        "--per_device_train_batch_size", 2, "--mixed_precision", "no", "--overwrite_output_dir",
        **environment,
    )  # fmt: skip
    return output


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_training_evaluation_and_prediction_with_data_workers(
    folder: Path, started_by, tmp_path: Path, method: str
) -> None:
    data = ("--dataset_name", "folder", "--dataset_path", folder)
    environment = started_by(method)
    reading = ("--preprocessing_num_workers", 2)
    alone = train(tmp_path / "alone", *data, "--dataloader_num_workers", 0)
    environment["HF_DATASETS_CACHE"] = str(tmp_path / "cache")  # so that the data is read again
    run = train(tmp_path / "run", *data, *reading, "--dataloader_num_workers", 2, **environment)
    first, second = (load_file(each / "model.safetensors") for each in (alone, run))
    assert all((first[name] == second[name]).all() for name in first)
    model = ("--model_name_or_path", run)
    run_script("evaluate_model.py", *model, *data, "--output_dir", tmp_path / "s", **environment)
    masks = ("--output_dir", tmp_path / "masks", folder / "images")
    run_script("predict.py", *model, *masks, **environment)
    assert len(list((tmp_path / "masks" / "masks").iterdir())) == 10


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_training_on_a_stream_with_data_workers(
    shards: Path, started_by, tmp_path: Path, method: str
) -> None:
    flags = ("--dataset_name", shards, "--streaming", "--dataloader_num_workers", 2)
    run = train(tmp_path / "run", *flags, **started_by(method))
    assert (run / "eval_results.json").is_file()
