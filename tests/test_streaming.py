"""A stream continues at the sample where it was stopped, from parquet files and tars anywhere."""

import functools
import http.server
import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from launch import environment, run_finetune
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from hfseg.data import load_dataset
from hfseg.data.addresses import data_files, expanded
from hfseg.data.streaming import StreamedEvaluationSamples, StreamedTrainingSamples, rows_at
from hfseg.data.transforms import TrainingTransform
from hfseg.training.stream_loader import StreamLoader

COUNTS = (5, 4, 6, 3)
"""Samples in each file of the training split."""
VALIDATION = (3, 4)
FILES = [("train", number, count) for number, count in enumerate(COUNTS)]
FILES += [("validation", number, count) for number, count in enumerate(VALIDATION)]
NAMES = '{"0": "ground", "1": "wall"}'


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sample(index: int) -> dict[str, bytes]:
    rng = np.random.default_rng(index)
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[: 4 + index, 10:30] = 1
    return {"image": png(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)), "mask": png(mask)}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the Hub's format: a training split in four files, one to validate in two."""
    home = tmp_path_factory.mktemp("shards")
    columns = datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})
    (home / "data").mkdir()
    first = 0
    for split, number, count in FILES:
        rows = [sample(index) for index in range(first, first + count)]
        part = datasets.Dataset.from_list(rows, features=columns)
        part.to_parquet(home / "data" / f"{split}-{number}.parquet")
        first += count
    (home / "id2label.json").write_text(NAMES)
    return home


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as tars, with the names of classes beside them."""
    home = tmp_path_factory.mktemp("tars")
    first = 0
    for split, number, count in FILES:
        with tarfile.open(home / f"{split}-{number:02d}.tar", "w") as tar:
            for index in range(first, first + count):
                for suffix, data in zip(("png", "mask.png"), sample(index).values(), strict=True):
                    member = tarfile.TarInfo(f"{index:04d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        first += count
    (home / "id2label.json").write_text(NAMES)
    return home


def samples_of(source: str | Path, **options: Any) -> StreamedTrainingSamples:
    data, _ = load_dataset(str(source), streaming=True)
    transform = TrainingTransform("light", (16, 16), 0)
    return StreamedTrainingSamples(data["train"], transform, **options)


def loader(source: Path, workers: int, rank: int = 0, world_size: int = 1) -> StreamLoader:
    samples = samples_of(source, rank=rank, world_size=world_size)
    return StreamLoader(samples, _plain, batch_size=2, num_workers=workers)


def _plain(samples: list[dict[str, Any]]) -> list[tuple[int, bytes]]:
    return [(each["index"], each["image"].tobytes()) for each in samples]


def batches(loader: StreamLoader, count: int) -> list[Any]:
    found = []
    for batch in loader:
        found.append(batch)
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize("kind", ["shards", "tars"])
@pytest.mark.parametrize(
    ("workers", "stops"),
    [(0, (1, 5, 9, 14)), (3, (7,)), pytest.param(2, (4,), id="2")],
)
def test_a_stream_continues_where_it_was_stopped(
    request, monkeypatch, tmp_path: Path, kind: str, workers: int, stops: tuple[int, ...]
) -> None:
    monkeypatch.setattr("hfseg.data.streaming.SHUFFLE_BUFFER", 4)
    source = request.getfixturevalue(kind)
    address = source if kind == "shards" else f"file://{source}"
    expected = batches(loader(address, workers), 18)
    for stop in stops:
        before = loader(address, workers)
        assert batches(before, stop) == expected[:stop]
        before.save(tmp_path / "stream_state_0.pth", 1)
        after = loader(address, workers)
        assert after.restore(tmp_path / "stream_state_0.pth", 1)
        assert batches(after, 18 - stop) == expected[stop:]


def test_every_pass_has_each_sample_once_in_another_order(shards: Path) -> None:
    keys = [each["index"] for each in samples_of(shards, passes=2)]
    first, second = keys[: sum(COUNTS)], keys[sum(COUNTS) :]
    assert sorted(first) == sorted(second) and len(set(first)) == sum(COUNTS)
    assert first != second
    assert [each["index"] for each in samples_of(shards, passes=1, seed=1)] != first


def test_other_workers_begin_the_pass_again_and_say_so(shards: Path, tmp_path: Path, caplog):
    before = loader(shards, 0)
    batches(before, 12)  # in the second pass
    before.save(tmp_path / "stream_state_0.pth", 1)
    after = loader(shards, 0, rank=1, world_size=2)
    assert after.restore(tmp_path / "stream_state_1.pth", 2)
    assert "begins its pass again" in caplog.text
    assert after.positions[0].epoch == 1 and after.positions[0].drawn == 0


def test_addresses_name_files_by_braces_or_as_a_folder(tars: Path) -> None:
    assert expanded("s3://b/{a,b}-{09..10}.tar") == [
        "s3://b/a-09.tar", "s3://b/a-10.tar", "s3://b/b-09.tar", "s3://b/b-10.tar",
    ]  # fmt: skip
    assert sorted(expanded("{a{0..1},b}")) == ["a0", "a1", "b"]
    files = data_files(f"file://{tars}")
    assert {split: len(found) for split, found in files.items()} == {"train": 4, "validation": 2}
    assert data_files("https://host/val/000.tar") == {"validation": ["https://host/val/000.tar"]}


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["shards", "tars"])
def test_every_sample_is_evaluated_by_one_process(
    request, kind: str, workers: int, world_size: int
) -> None:
    source = request.getfixturevalue(kind)
    source = str(source) if kind == "shards" else f"file://{source}"
    stream = load_dataset(source, streaming=True)[0]["validation"]
    expected = [np.array(row["label"]).tobytes() for row in stream]
    assert len(set(expected)) == sum(VALIDATION)
    for in_order in (False, True):
        found = {}
        for rank in range(world_size):
            samples = StreamedEvaluationSamples(
                stream, rank=rank, world_size=world_size, in_order=in_order
            )
            for (sample,) in DataLoader(samples, collate_fn=list, num_workers=workers):
                assert sample["index"] not in found
                found[sample["index"]] = sample["label"].tobytes()
        assert [found[index] for index in sorted(found)] == expected


def test_rows_of_a_stream_are_found_by_their_place(shards: Path) -> None:
    stream = load_dataset(str(shards), streaming=True)[0]["validation"]
    rows = list(stream)
    found = rows_at(stream, {4, 1})
    assert {place: row["label"].tobytes() for place, row in found.items()} == {
        place: rows[place]["label"].tobytes() for place in (1, 4)
    }


RUN = (
    "--model_name_or_path", "segformer-tiny", "--from_scratch", "--crop_size", "32",
    "--per_device_train_batch_size", "2", "--streaming", "--mixed_precision", "no",
    "--eval_strategy", "no", "--save_strategy", "steps", "--save_steps", "3",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_streamed_run_that_is_resumed_has_the_same_weights(
    shards: Path, tmp_path: Path, workers: str
) -> None:
    flags = ("--dataset_name", str(shards), *RUN, "--dataloader_num_workers", workers)
    for name in ("whole", "resumed"):
        run_finetune(*flags, "--max_steps", "11", "--output_dir", str(tmp_path / name))
    run = tmp_path / "resumed"
    for name in ("model.safetensors", "train_results.json", "trainer_state.json"):
        (run / name).unlink()
    checkpoint = str(run / "checkpoint-9")
    run_finetune("--output_dir", str(run), "--resume_from_checkpoint", checkpoint)
    whole, resumed = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "resumed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def scores(output: Path) -> tuple[list[float], dict[str, Any]]:
    """Loss and calibration error, which are sums of floats in any order, and all other scores."""
    found = json.loads((output / "eval_results.json").read_text())
    timed = ("time", "second")
    kept = {k: v for k, v in found.items() if not any(word in k for word in timed)}
    return [kept.pop("eval_loss"), kept.pop("eval_expected_calibration_error")], kept


@pytest.mark.slow
@pytest.mark.parametrize("limit", [(), ("--max_eval_samples", "5")])
def test_a_streamed_evaluation_has_the_counts_of_an_unstreamed_one(
    shards: Path, tmp_path: Path, limit: tuple[str, ...]
) -> None:
    # a learning rate of almost nothing: all runs score the same weights
    flags = (*RUN, *limit, "--dataset_name", str(shards), "--max_steps", "1",
             "--learning_rate", "1e-30", "--lr_scheduler_type", "linear",
             "--freeze_batch_norm")  # fmt: skip
    unstreamed = [flag for flag in flags if flag != "--streaming"]
    run_finetune(*unstreamed, "--output_dir", str(tmp_path / "unstreamed"))
    summed, expected = scores(tmp_path / "unstreamed")
    assert 0 < expected["eval_mean_iou"] < 1 and expected["eval_mean_iou_interval_95"]
    for processes, workers in ((1, "2"), (2, "0"), (2, "1")):
        output = tmp_path / f"{processes}-{workers}"
        run_finetune(*flags, "--dataloader_num_workers", workers, "--output_dir", str(output),
                     processes=processes)  # fmt: skip
        assert scores(output) == (pytest.approx(summed, rel=1e-6), expected)
        pictures = sorted(file.name for file in (output / "examples").iterdir())
        assert pictures == sorted(
            file.name for file in (tmp_path / "unstreamed" / "examples").iterdir()
        )


@pytest.fixture
def server(tars: Path) -> Iterator[str]:
    """The tars over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tars))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.mark.slow
def test_tars_over_http_are_the_files_they_are(server: str, tars: Path) -> None:
    script = (
        "import json, sys; from test_streaming import samples_of;"
        "print(json.dumps([s['index'] for s in samples_of(sys.argv[1], passes=1)]))"
    )
    keys = []
    for home in (server, f"file://{tars}"):
        done = subprocess.run(
            [sys.executable, "-c", script,
             f"{home}/{{train-{{00..03}},validation-{{00..01}}}}.tar"],
            env=environment(HF_HUB_OFFLINE="0", HF_DATASETS_OFFLINE="0"),
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        keys.append(json.loads(done.stdout.splitlines()[-1]))
    assert keys[0] == keys[1] and len(keys[0]) == sum(COUNTS)
