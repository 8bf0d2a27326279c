"""Datasets of the Hub: pushed by `hfseg push dataset`, and in other common forms."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Hub, make_folder
from PIL import Image

PUSH = REPOSITORY / "scripts" / "push_dataset.py"
READ = """
import hashlib, json, sys
import numpy as np
import hfseg
def digest(rows):
    return [
        hashlib.sha256(np.asarray(row[c]).tobytes()).hexdigest()
        for row in rows for c in ("image", "label")
    ]
for name, options in json.loads(sys.argv[1]):
    data, labels = hfseg.load_dataset(name, **options)
    print(json.dumps({
        "names": labels.names,
        "palette": labels.palette,
        "splits": {split: digest(rows) for split, rows in data.items()},
    }))
"""


def read(hub: Hub, *wanted: tuple[str, dict]) -> list[dict]:
    """What a fresh process reads: names, palette and a hash of every image and label."""
    lines = hub.run("-c", READ, json.dumps(wanted)).stdout.splitlines()
    return [json.loads(line) for line in lines[-len(wanted) :]]


def make_voc(root: Path, count: int = 6) -> Path:
    """A VOCdevkit with a few random masks in the official palette."""
    from hfseg.data.readers.voc import voc_color

    base = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / part).mkdir(parents=True)
    palette = [channel for index in range(256) for channel in voc_color(index)]
    names = [f"2007_{index:06d}" for index in range(count)]
    for index, name in enumerate(names):
        rng = np.random.default_rng(index)
        photo = rng.integers(0, 255, (20 + index, 30, 3), dtype=np.uint8)
        Image.fromarray(photo).save(base / "JPEGImages" / f"{name}.jpg")
        mask = Image.fromarray(random_ids(rng, (20 + index, 30), 21))
        mask.putpalette(palette)
        mask.save(base / "SegmentationClass" / f"{name}.png")
    lists = base / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("\n".join(names[:4]) + "\n")
    (lists / "val.txt").write_text("\n".join(names[4:]) + "\n")
    return root / "VOCdevkit"


def random_ids(rng: np.random.Generator, shape: tuple[int, int], classes: int) -> np.ndarray:
    ids = rng.integers(0, classes, shape, dtype=np.uint8)
    ids[0, :5] = 255
    return ids


@pytest.mark.slow
def test_official_layout_pushed_and_loaded_by_id_has_the_same_pixels(
    hub: Hub, tmp_path: Path
) -> None:
    source = str(make_voc(tmp_path / "official"))
    flags = ("--dataset_name", "voc", "--dataset_path", source)
    assert "train 4, validation 2" in hub.run(PUSH, *flags, "--repo_id", "me/voc").stdout
    repo = hub.server.repos["dataset", "me/voc"]
    assert repo.private
    assert set(json.loads(repo.files["id2label.json"]).values()) >= {"background", "tvmonitor"}
    assert "| 20 | tvmonitor | #004080 |" in repo.files["README.md"].decode()

    hub.run(PUSH, *flags, "--output_dir", tmp_path / "local")
    official, *copies = read(
        hub,
        ("voc", {"source": source}),
        ("me/voc", {}),
        ("voc", {"source": "me/voc"}),
        (str(tmp_path / "local"), {}),
    )
    assert copies == [official] * 3


def test_an_interrupted_push_of_data_is_reported_in_one_sentence(hub: Hub, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "data", count=6)
    hub.server.fail("POST", "/commit/", cut="upload", times=100)
    flags = ("--dataset_name", "folder", "--dataset_path", source, "--repo_id", "me/data")
    failed = hub.run(PUSH, *flags, check=False)
    assert failed.returncode == 2 and "Traceback" not in failed.stderr
    assert "me/data" in failed.stderr and "connection was lost" in failed.stderr
    assert not any(
        path.endswith(".parquet") for path in hub.server.repos["dataset", "me/data"].files
    )


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def encodings(hub: Hub, tmp_path: Path) -> list[dict]:
    """The same five masks, stored in four ways by four authors, as hfseg reads them."""
    import datasets

    rng = np.random.default_rng(0)
    masks = [random_ids(rng, (12, 16), 3) for _ in range(5)]
    photos = [
        png(Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))) for _ in "12345"
    ]
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:3] = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    colors[255] = (255, 255, 255)

    def palette(mask: np.ndarray) -> Image.Image:
        image = Image.fromarray(mask)
        image.putpalette(colors.ravel().tolist())
        return image

    stored = {
        "index": [png(Image.fromarray(mask)) for mask in masks],
        "wide": [png(Image.fromarray(mask.astype(np.int32))) for mask in masks],
        "palette": [png(palette(mask)) for mask in masks],
        "gray": [png(Image.fromarray(np.repeat(mask[..., None], 3, -1))) for mask in masks],
        "rgb": [png(Image.fromarray(colors[mask])) for mask in masks],
        "list": [mask.tolist() for mask in masks],
    }
    table = {
        "names": ["a", "b", "c"],
        "palette": colors[:3].tolist(),
        "ignore_index": 255,
    }
    (tmp_path / "labels.json").write_text(json.dumps(table))
    for name, values in stored.items():
        picture = datasets.Image()
        column = (
            datasets.List(datasets.List(datasets.Value("int32"))) if name == "list" else picture
        )
        if name == "rgb":  # void is white there, which the table can't say
            values = [png(Image.fromarray(colors[np.where(m == 255, 0, m)])) for m in masks]
        rows = datasets.Dataset.from_dict(
            {"pixels": photos, "what": values},
            features=datasets.Features({"pixels": picture, "what": column}),
        )
        buffer = io.BytesIO()
        rows.to_parquet(buffer)
        parquet = buffer.getvalue()
        files = {"data/train-0.parquet": parquet, "data/validation-0.parquet": parquet}
        hub.server.add("dataset", f"them/{name}", files)
    options = {"id2label": str(tmp_path / "labels.json")}
    answers = read(hub, *((f"them/{name}", options) for name in stored))
    expected = read_expected(masks)
    without_void = read_expected([np.where(m == 255, 0, m) for m in masks])
    for name, answer in zip(stored, answers, strict=True):
        answer["expected"] = without_void if name == "rgb" else expected
    return answers


def read_expected(masks: list[np.ndarray]) -> list[str]:
    import hashlib

    return [hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest() for mask in masks]


def test_every_encoding_of_the_same_masks_gives_the_same_ids(encodings: list[dict]) -> None:
    for answer in encodings:
        assert answer["names"] == ["a", "b", "c"]
        for split in ("train", "validation"):
            assert answer["splits"][split][1::2] == answer["expected"]


def test_an_unknown_dataset_is_reported_in_one_sentence(hub: Hub) -> None:
    done = hub.run(PUSH, "--dataset_name", "me/none", "--output_dir", "x", check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "me/none" in done.stderr


STREAM = """
import json, sys, zlib
import numpy as np
from torch.utils.data import DataLoader
import hfseg
from hfseg.data.streaming import StreamedTrainingSamples
from hfseg.data.transforms import TrainingTransform

def pixels(rows):
    return [np.asarray(row[c]).tobytes().hex() for row in rows for c in ("image", "label")]

whole, _ = hfseg.load_dataset("them/shards")
streamed, _ = hfseg.load_dataset("them/shards", streaming=True)
assert not hasattr(streamed["train"], "__len__")
assert pixels(streamed["validation"]) == pixels(whole["validation"])
assert len(whole["validation"]) == 4

transform = TrainingTransform("none", (8, 8), 0)
seen = {}
for workers in (0, 2):
    keys = []
    for rank in (0, 1):
        part = StreamedTrainingSamples(
            streamed["train"], transform, rank=rank, world_size=2, passes=1
        )
        loader = DataLoader(part, batch_size=None, num_workers=workers)
        keys.append([(int(s["index"]), np.asarray(s["image"]).tobytes().hex()) for s in loader])
        print("rank", rank, "workers", workers, "samples", len(keys[-1]))
    seen[workers] = sorted(keys[0] + keys[1])
    assert len(keys[0]) > 0 and len(keys[1]) > 0
assert seen[0] == seen[2], "workers change what is seen"
assert len(dict(seen[0])) == len(seen[0]) == len(whole["train"]) == 11
print("done")
"""


def add_shards(hub: Hub, counts: tuple[int, ...] = (4, 4, 3)) -> None:
    """`them/shards`: a training split in several files, a validation split of four."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})

    def parquet(start: int, count: int) -> bytes:
        rows: dict[str, list[bytes]] = {"image": [], "mask": []}
        for index in range(start, start + count):
            rng = np.random.default_rng(index)
            photo = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            rows["image"].append(png(Image.fromarray(photo)))
            rows["mask"].append(png(Image.fromarray(random_ids(rng, (8, 8), 2))))
        buffer = io.BytesIO()
        datasets.Dataset.from_dict(rows, features=features).to_parquet(buffer)
        return buffer.getvalue()

    files = {
        f"data/train-{i:05d}-of-{len(counts):05d}.parquet": parquet(100 * i, count)
        for i, count in enumerate(counts)
    }
    files["data/validation-00000-of-00001.parquet"] = parquet(1000, 4)
    files["id2label.json"] = b'{"0": "ground", "1": "wall"}'
    hub.server.add("dataset", "them/shards", files)


@pytest.mark.slow
@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((4, 4, 3), id="3 files: each process takes every other sample"),
        pytest.param((6, 5), id="2 files: one for each process"),
    ],
)
def test_streaming_sees_every_sample_once_and_the_whole_validation_set(
    hub: Hub, counts: tuple[int, ...]
) -> None:
    add_shards(hub, counts)
    assert hub.run("-c", STREAM).stdout.strip().endswith("done")


@pytest.mark.slow
def test_two_processes_share_a_stream_without_gap_or_repetition(hub: Hub, tmp_path: Path) -> None:
    add_shards(hub)
    hub.run(
        "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2,
        "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", 0, Path(__file__).with_name("worker.py"),
        "stream", "them/shards", tmp_path, 1, 1, "ce",
    )  # fmt: skip
    reports = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert [report["world_size"] for report in reports] == [2, 2]
    assert [report["validation"] for report in reports] == [4, 4]
    seen = [report["keys"] for report in reports]
    assert len(seen[0] + seen[1]) == len(set(seen[0] + seen[1])) == 11
    assert seen[0] and seen[1]


def test_roles_are_found_by_content_and_a_hidden_test_split_is_left_out(hub: Hub) -> None:
    """Columns named to mislead: `label` is a breed, the mask is called `picture2`."""
    import datasets

    rng = np.random.default_rng(1)

    def pictures(low: int, high: int, *shape: int) -> list[bytes]:
        drawn = (rng.integers(low, high, shape, dtype=np.uint8) for _ in range(4))
        return [png(Image.fromarray(values)) for values in drawn]

    rows = datasets.Dataset.from_dict(
        {
            "label": [0, 1, 1, 0],
            "picture2": pictures(7, 9, 12, 16),
            "picture1": pictures(0, 255, 12, 16, 3),
        },
        features=datasets.Features(
            {
                "label": datasets.ClassLabel(names=["pug", "boxer"]),
                "picture2": datasets.Image(),
                "picture1": datasets.Image(),
            }
        ),
    )
    buffer = io.BytesIO()
    rows.to_parquet(buffer)
    files = {f"data/{s}-0.parquet": buffer.getvalue() for s in ("train", "validation", "test")}
    hub.server.add("dataset", "them/odd", files)
    numbered, street = read(hub, ("them/odd", {}), ("cityscapes", {"source": "them/odd"}))
    assert numbered["names"] == [f"class {index}" for index in range(9)]
    assert set(numbered["splits"]) == {"train", "validation", "test"}
    assert street["names"][:2] == ["road", "sidewalk"]
    assert set(street["splits"]) == {"train", "validation"}
    assert street["splits"]["train"][0::2] == numbered["splits"]["train"][0::2]
