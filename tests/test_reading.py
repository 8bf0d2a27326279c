"""A dataset is read once, by several processes, and then from the cache."""

import os
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from conftest import make_folder
from PIL import Image

from hfseg import load_dataset
from hfseg.data import export
from hfseg.data.locate import LoadOptions, open_dataset
from hfseg.data.pairs import PairSamples
from hfseg.data.reading import in_order
from hfseg.data.workers import reading_workers
from hfseg.errors import UserError
from hfseg.labels import LabelSet


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def pairs_of(folder: Path) -> PairSamples:
    opened: Any = open_dataset("folder", str(folder), None, LoadOptions())
    (pairs,) = opened.splits.values()
    return PairSamples(pairs, opened.decoder)


def test_workers_read_what_one_process_reads_in_the_same_order(segmentation_folder: Path) -> None:
    (segmentation_folder / "images" / "003.png").write_bytes(b"no image")
    samples = pickle.loads(pickle.dumps(pairs_of(segmentation_folder)))
    alone, shared = ([*in_order("train", samples, workers)()] for workers in (0, 2))
    np.testing.assert_equal(shared, alone)
    assert [bool(row["problem"]) for row in shared] == [index == 3 for index in range(13)]


def test_the_second_start_reads_nothing_and_a_changed_file_is_noticed(
    segmentation_folder: Path, own_cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> list[Any]:
        data, _ = load_dataset("folder", str(segmentation_folder))
        return [np.asarray(row["label"]) for rows in data.values() for row in rows]

    first = load()

    def read(self: PairSamples, index: int) -> dict[str, Any]:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr(PairSamples, "__getitem__", read)
        np.testing.assert_equal(load(), first)
    mask = segmentation_folder / "masks" / "004.png"
    stamp = mask.stat()
    Image.fromarray(np.asarray(Image.open(mask)).copy() * 0 + 2).save(mask)
    os.utime(mask, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert sum((ids == 2).all() for ids in load()) == 1


def test_a_mask_that_is_a_png_of_ids_stays_the_file_it_is(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=2)
    palette = Image.open(folder / "masks" / "001.png").convert("L")
    palette.putpalette(bytes(range(256)) * 3)
    palette.save(folder / "masks" / "001.png")
    kept, other = in_order("train", pairs_of(folder), 0)()
    assert kept["label"]["bytes"] == (folder / "masks" / "000.png").read_bytes()
    assert other["label"]["bytes"] != (folder / "masks" / "001.png").read_bytes()


def test_without_a_writable_cache_the_data_is_read_each_time(
    segmentation_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    data, _ = load_dataset("folder", str(segmentation_folder))
    assert sum(map(len, data.values())) == 13
    assert "can't be written" in caplog.text and "set HF_HOME" in caplog.text


@pytest.mark.parametrize(
    ("cores", "samples", "requested", "workers"),
    [(1, 9999, None, 0), (2, 100, None, 0), (2, 9999, None, 2), (64, 9999, None, 16),
     (64, 1000, None, 3), (2, 100, 8, 8), (2, 3, 8, 3), (8, 9999, 0, 0)],
)  # fmt: skip
def test_few_samples_are_read_without_workers(
    cores, samples, requested, workers, monkeypatch
) -> None:
    monkeypatch.setattr("hfseg.data.workers.usable_cores", lambda: cores)
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none: "fork")
    assert reading_workers(samples, requested) == workers


def test_a_dataset_in_several_parquet_files_reads_back(
    segmentation_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, labels = load_dataset("folder", str(segmentation_folder))
    monkeypatch.setattr(export, "SHARD_BYTES", 20_000)
    export.write_dataset(tmp_path / "copy", data, labels, "copy")
    files = sorted(path.name for path in (tmp_path / "copy" / "data").iterdir())
    assert files[0] == "test-00000-of-00001.parquet" and len(files) > 4
    again, _ = load_dataset(str(tmp_path / "copy"), preprocessing_num_workers=2)
    for split, rows in data.items():
        for row, other in zip(rows, again[split], strict=True):
            for column in ("image", "label"):
                np.testing.assert_array_equal(np.asarray(row[column]), np.asarray(other[column]))


def test_an_export_that_was_stopped_continues_and_another_is_refused(
    segmentation_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, labels = load_dataset("folder", str(segmentation_folder))
    monkeypatch.setattr(export, "SHARD_BYTES", 20_000)
    write, written = export._write_shard, []

    def stop_at_the_third(folder: Path, shard: Any, rows: Any) -> None:
        if len(written) == 2:
            (folder / f"{shard.name}.part").write_bytes(b"cut off")
            raise KeyboardInterrupt
        written.append(shard.name)
        write(folder, shard, rows)

    monkeypatch.setattr(export, "_write_shard", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        export.write_dataset(tmp_path / "copy", data, labels, "copy")
    with pytest.raises(UserError, match="not an empty folder"):
        export.write_dataset(tmp_path / "copy", data, LabelSet(("a", "b", "c")), "copy")
    monkeypatch.setattr(export, "_write_shard", write)
    before = {name: (tmp_path / "copy" / "data" / name).stat().st_ino for name in written}
    export.write_dataset(tmp_path / "copy", data, labels, "copy")
    found = {path.name: path.stat().st_ino for path in (tmp_path / "copy" / "data").iterdir()}
    assert before.items() <= found.items() and all(name.endswith("parquet") for name in found)
