"""Bad inputs end in a result or in one sentence: never a traceback, a hang or a changed file.

`make test-slow` prints how many inputs each reader was given; `make test` gives it a few.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import yaml
from conftest import make_folder
from fuzzing import JUNK, digest, distorted, edited, fuzz
from hypothesis import strategies as st
from PIL import Image, features
from tiny_segformer import save_tiny

from hfseg import load_dataset
from hfseg.cards.model_card import for_repository
from hfseg.cards.redaction import public_recipe, redacted
from hfseg.config.resolve import parse, resolve, training_parser
from hfseg.data.decode_limits import ImageDecoder
from hfseg.data.image_io import to_rgb
from hfseg.data.masks import MaskDecoder
from hfseg.inference import Segmenter
from hfseg.labels import LabelSet

FEW = 4


def many(examples: int) -> pytest.MarkDecorator:
    """A few examples in `make test`, all of them in `make test-slow`."""
    return pytest.mark.parametrize(
        "examples", [FEW, pytest.param(examples, marks=pytest.mark.slow)]
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def with_file(base: Path, name: str, content: bytes, read: Callable[[Path], object]) -> None:
    """Read a copy of a folder in which one file was replaced; nothing in it may change."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(base, Path(place) / "data"))
        (folder / name).write_bytes(content)
        before = digest(folder)
        try:
            read(folder)
        finally:
            assert digest(folder) == before, "an input file was changed"


def pictures() -> dict[str, bytes]:
    """One small photo in each of several formats, whatever the names of the files say."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    found = {}
    for form, options in (
        ("PNG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"exif": _turned()}), ("GIF", {}),
        ("BMP", {}), ("TIFF", {}), ("WEBP", {}), ("QOI", {}), ("DDS", {}),
        *([("AVIF", {})] if features.check("avif") else []),
    ):  # fmt: skip
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form, **options)
        found[f"{form}{len(found)}"] = buffer.getvalue()
    return found


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


ANY_PICTURE = st.sampled_from(sorted(pictures().values())).flatmap(edited)


# ---- images and masks ----


@many(500)
def test_images(examples: int, tmp_path: Path) -> None:
    def read(content: bytes) -> None:
        file = tmp_path / "a.jpg"
        file.write_bytes(content)
        try:
            assert to_rgb(file).mode == "RGB"
        finally:
            assert file.read_bytes() == content

    fuzz(ANY_PICTURE, examples, read)


def masks() -> list[bytes]:
    ids = np.random.default_rng(0).integers(0, 3, (24, 32), dtype=np.uint8)
    palette = Image.fromarray(ids)
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    found = []
    for image in (Image.fromarray(ids), palette, palette.convert("RGB"), palette.convert("RGBA")):
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=0)
        found.append(buffer.getvalue())
    return found


@many(500)
def test_masks(examples: int, tmp_path: Path) -> None:
    labels = LabelSet(("ground", "wall", "roof"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))
    decoder = MaskDecoder.for_labels(labels)

    def read(content: bytes) -> None:
        file = tmp_path / "mask.png"
        file.write_bytes(content)
        ids = decoder.sniff([file])(file)
        assert ids.dtype == np.uint8 and set(np.unique(ids)) <= {0, 1, 2, 255}

    fuzz(st.sampled_from(masks()).flatmap(edited) | ANY_PICTURE, examples, read)


@many(60)
def test_uploads_are_decoded_in_a_process_of_their_own(examples: int, tmp_path: Path) -> None:
    decoder = ImageDecoder(seconds=10, max_pixels=1_000_000)

    def read(content: bytes) -> None:
        (tmp_path / "upload").write_bytes(content)
        image, _ = decoder.read(tmp_path / "upload", max_side=16)
        assert image.mode == "RGB" and max(image.size) <= 16

    fuzz(ANY_PICTURE, examples, read)


# ---- datasets ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "folder", count=4, size=(16, 16))


@many(120)
def test_a_dataset_with_a_bad_file(examples: int, folder: Path) -> None:
    names = ("images/001.png", "masks/001.png", "classes.txt")
    contents = {name: (folder / name).read_bytes() for name in names}
    strategy = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), edited(contents[name]))
    )
    fuzz(strategy, examples, lambda bad: with_file(folder, *bad, load_folder))


def load_folder(folder: Path) -> None:
    data, labels = load_dataset("folder", str(folder))
    assert all(row["label"].size == row["image"].size for row in data["train"]) and len(labels)


TABLES: dict[str, str] = {
    "classes.csv": "name,r,g,b\nground,0,0,0\nwall,200,0,0\nroof,0,200,0\n",
    "label_colors.txt": "0 0 0 ground\n200 0 0 wall\n0 200 0 roof\n",
    "id2label.json": '{"0": "ground", "1": "wall", "2": "roof"}',
    "labels.json": json.dumps(LabelSet(("ground", "wall", "roof")).to_dict()),
}


@many(120)
def test_a_dataset_with_a_bad_table_of_classes(examples: int, folder: Path) -> None:
    (folder / "classes.txt").unlink()
    text = st.sampled_from(sorted(TABLES)).flatmap(
        lambda name: st.tuples(st.just(name), edited(TABLES[name].encode()))
    )
    trees = st.sampled_from(["id2label.json", "labels.json"]).flatmap(
        lambda name: st.tuples(st.just(name), distorted(json.loads(TABLES[name])).map(_as_json))
    )
    fuzz(text | trees, examples, lambda bad: with_file(folder, *bad, load_folder))


def _as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode("utf-8", errors="surrogatepass")


def coco(folder: Path) -> dict:
    """A COCO dataset with each kind of segmentation; its JSON is not written yet."""
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (32, 24), (index, 0, 0)).save(folder / f"{index}.png")
    square = [2, 2, 20, 2, 20, 12, 2, 12]
    return {
        "images": [
            {"id": index, "file_name": f"{index}.png", "height": 24, "width": 32}
            for index in range(3)
        ],
        "categories": [
            {"id": 1, "name": "wall", "supercategory": "none"},
            {"id": 2, "name": "roof", "supercategory": "wall"},
        ],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [square], "area": 180},
            {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [square, square]},
            {
                "id": 3, "image_id": 2, "category_id": 2, "iscrowd": 1,
                "segmentation": {"size": [24, 32], "counts": [24, 100, 644]},
            },
            {
                "id": 4, "image_id": 2, "category_id": 1,
                "segmentation": {"size": [24, 32], "counts": "`0H8oN"},
            },
        ],
    }  # fmt: skip


@many(300)
def test_coco_json(examples: int, tmp_path: Path) -> None:
    content = coco(tmp_path / "coco")
    trees = distorted(content).map(_as_json)
    strategy = trees | edited(json.dumps(content).encode())

    def load(folder: Path) -> None:
        data, _ = load_dataset("coco", str(folder))
        assert all(row["label"].size == row["image"].size for row in data["train"])

    fuzz(strategy, examples, lambda bad: with_file(tmp_path / "coco", "a.json", bad, load))


# ---- recipes and flags ----

RECIPE = {
    "dataset_name": "folder", "dataset_path": "data", "model_name_or_path": "segformer-tiny",
    "learning_rate": 0.001, "crop_size": "32x48", "image_size": 64, "loss": "ce+dice",
    "lr_scheduler_kwargs": {"power": 0.9}, "train_val_test_split": "0.8,0.1,0.1",
    "model_config": {"drop_path_rate": 0.1}, "num_train_epochs": 3, "warmup_steps": 0.1,
    "class_weights": "balanced", "augmentation": "light", "eval_steps": 5, "report_to": "none",
    "early_stopping_patience": 2, "time_budget": "2h", "seed": 1, "optim": "adam",
    "mixed_precision": "no", "save_total_limit": 2, "metric_for_best_model": "mean_iou",
}  # fmt: skip


@many(250)
def test_recipes(examples: int, tmp_path: Path) -> None:
    def read(content: bytes) -> None:
        file = tmp_path / "recipe.yaml"
        file.write_bytes(content)
        resolve({"config": str(file), "output_dir": str(tmp_path / "run")})
        assert not (tmp_path / "run").exists() and file.read_bytes() == content

    def text(tree: Any) -> bytes:
        return yaml.safe_dump(tree).encode("utf-8", errors="surrogatepass")

    fuzz(distorted(RECIPE).map(text) | edited(text(RECIPE)), examples, read)


@many(250)
def test_flags(examples: int, tmp_path: Path) -> None:
    names = sorted(set(training_parser().flags) - {"config", "resume_from_checkpoint"})
    values = st.sampled_from([str(each) for each in JUNK] + ["1", "no", "epoch", "64x64", "-5"])
    pairs = st.lists(st.tuples(st.sampled_from(names), values), min_size=1, max_size=4)

    def read(given: list[tuple[str, str]]) -> None:
        words = [f"--{name}={value}" for name, value in given]
        parse(["--output_dir", str(tmp_path / "run"), *words])
        assert not (tmp_path / "run").exists()

    fuzz(pairs, examples, read)


# ---- models and cards ----


@many(200)
def test_model_folders(examples: int, tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "model")
    names = ("config.json", "preprocessor_config.json", "model.safetensors")
    contents = {name: (model / name).read_bytes() for name in names}
    weights = contents["model.safetensors"]
    header = 8 + int.from_bytes(weights[:8], "little")
    texts = st.sampled_from(names[:2]).flatmap(
        lambda name: st.tuples(
            st.just(name),
            distorted(json.loads(contents[name])).map(_as_json) | edited(contents[name]),
        )
    )
    tensors = st.tuples(
        st.just("model.safetensors"), edited(weights[:header]).map(lambda h: h + weights[header:])
    )

    def load(folder: Path) -> None:
        result = Segmenter.from_pretrained(folder)(np.zeros((32, 32, 3), np.uint8))
        assert result.mask.shape == (32, 32)

    fuzz(texts | tensors, examples, lambda bad: with_file(model, *bad, load))


CARD = """---
license: mit
model-index: []
---
# A model

| a | b |
|---|---|
| ![x](report/curves.png) | [y](https://example.org) |

```python
segmenter = pipeline("image-segmentation", model="me/model")
```
<img src=x onerror=alert(1)> /home/someone/data hf_abcdefghijklmnopqrstuvwxyz
"""


@many(200)
def test_cards_and_published_recipes(examples: int) -> None:
    card_html = pytest.importorskip("demo.card").card_html
    text = edited(CARD.encode()).map(lambda content: content.decode("utf-8", errors="replace"))

    def read(card: str) -> None:
        page = card_html(card)
        assert "<script" not in page and "<img src=x" not in page
        assert "hf_abcdefghijklmnopqrstuvwxyz" not in redacted(card)
        for_repository(card, "me/model")

    fuzz(text, examples, read)

    def publish(tree: Any) -> None:
        private = "/home/someone/secret/data"
        assert private not in public_recipe(yaml.safe_dump({**tree, "dataset_path": private}))

    fuzz(distorted(RECIPE).filter(lambda tree: isinstance(tree, dict)), examples, publish)
