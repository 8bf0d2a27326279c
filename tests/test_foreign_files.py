"""The rows of a dataset name files of that dataset, never others of this machine or a network."""

import io
import json
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet
import pytest
from conftest import Hub
from PIL import Image
from test_hub_data import read

from hfseg import load_dataset
from hfseg.data.hub_rows import _is_in, image_source
from hfseg.errors import UserError

ADDRESS = "http://127.0.0.1:9/a.png"
"""Nothing listens there."""


def png(seed: int, *shape: int, below: int = 256) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, below, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def stranger(folder: Path, column: str, path: str | None) -> Path:
    """A folder in the Hub's format; one row names a file in place of an image or a mask."""
    rows = [
        {
            "image": {"bytes": png(index, 16, 16, 3), "path": None},
            "label": {"bytes": png(index, 16, 16, below=2), "path": None},
        }
        for index in range(6)
    ]
    columns = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    (folder / "data").mkdir(parents=True)
    for split in ("validation", "train"):
        if split == "train":
            rows[2][column] = {"bytes": None, "path": path} if path else None
        parquet = folder / "data" / f"{split}-0.parquet"
        table = datasets.Dataset.from_list(rows, features=columns).with_format("arrow")[:]
        # not `to_parquet`, which may fetch what a row names
        pyarrow.parquet.write_table(table.cast(columns.arrow_schema), parquet)
    (folder / "id2label.json").write_text('{"0": "ground", "1": "wall"}')
    return folder


@pytest.fixture
def private(tmp_path: Path) -> dict[str, str]:
    """By column: a file that the dataset doesn't own."""
    for name, data in (("image", png(9, 16, 16, 3)), ("label", png(9, 16, 16, below=2))):
        (tmp_path / f"private-{name}.png").write_bytes(data)
    return {name: str(tmp_path / f"private-{name}.png") for name in ("image", "label")}


@pytest.mark.parametrize(
    ("column", "how"),
    [("image", "path"), ("label", "path"), ("image", "dots"), ("label", "file"),
     ("image", "network"), ("label", "archive")],
)  # fmt: skip
def test_a_row_that_names_a_foreign_file_is_not_read(
    tmp_path: Path, private: dict[str, str], column: str, how: str
) -> None:
    folder = tmp_path / "stranger"
    path = {
        "path": private[column],
        "dots": f"{folder}/../{Path(private[column]).name}",
        "file": f"file://{private[column]}",
        "network": ADDRESS,
        "archive": f"zip://a.png::{ADDRESS}",
    }[how]
    data = stranger(folder, column, path)
    words = r"stranger, train row 2: it names the file .*, which is not in the dataset"
    with pytest.raises(UserError, match=words):
        load_dataset(str(data))
    kept, _ = load_dataset(str(data), on_bad_sample="skip")
    assert sum(len(rows) for rows in kept.values()) == 11


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_a_row_of_a_stream_that_names_a_foreign_file_is_not_read(
    tmp_path: Path, private: dict[str, str], address: str
) -> None:
    data = address.format(stranger(tmp_path / "stranger", "image", private["image"]))
    with pytest.raises(UserError, match=r"names the file .*, which is not in the dataset"):
        list(load_dataset(data, streaming=True)[0]["train"])


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_row_without_a_picture_is_named(tmp_path: Path, column: str) -> None:
    data = stranger(tmp_path / "stranger", column, None)
    with pytest.raises(UserError, match="stranger, train row 2: it has no"):
        load_dataset(str(data))


def test_a_row_of_the_folder_or_of_the_users_own_may_name_a_file(
    tmp_path: Path, private: dict[str, str]
) -> None:
    folder = tmp_path / "stranger"
    inside = folder / "pictures" / "a.png"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(png(9, 16, 16, 3))
    data, _ = load_dataset(str(stranger(folder, "image", str(inside))))
    assert sum(len(rows) for rows in data.values()) == 12
    columns = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    own = datasets.Dataset.from_list([private] * 6, features=columns)
    own.save_to_disk(tmp_path / "own")
    for source in (own, str(tmp_path / "own")):
        data, _ = load_dataset(source, labels=["ground", "wall"])
        assert sum(len(rows) for rows in data.values()) == 6


def test_places_are_compared_by_complete_names() -> None:
    places = ("hf://datasets/me/data@", "hf://datasets/me/data/", "/data/own")
    for path in ("hf://datasets/me/data@main/a.png", "zip://a.png::hf://datasets/me/data/a.zip"):
        assert _is_in(path, places)
    assert image_source({"path": "/data/own/a.png"}, "row 1", places)[0] == "/data/own/a.png"
    for path in (
        "hf://datasets/me/data2/a.png", "hf://datasets/me/data@main/../../you/data/a.png",
        "/data/own2/a.png", "/data/own/../a.png", "a.png", "zip:///data/own/a::/etc/passwd",
    ):  # fmt: skip
        with pytest.raises(UserError, match="is not in the dataset"):
            image_source({"path": path}, "row 1", places)


STREAMED = """
import hfseg
data, _ = hfseg.load_dataset("them/pictures", streaming=True)
print(sum(len(list(rows)) for rows in data.values()))
"""


@pytest.mark.parametrize(
    "packed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["files", "zip"]
)
def test_pictures_of_a_repository_are_read_from_where_they_were_downloaded(
    hub: Hub, packed: bool
) -> None:
    files = {"id2label.json": b'{"0": "ground", "1": "wall"}'}
    for split in ("train", "validation"):
        pictures = {}
        for index in range(4):
            pictures[f"{index}.png"] = png(index, 16, 16, 3)
            pictures[f"{index}-mask.png"] = png(index, 16, 16, below=2)
        lines = (
            json.dumps({"file_name": f"{index}.png", "label_file_name": f"{index}-mask.png"})
            for index in range(4)
        )
        pictures["metadata.jsonl"] = "\n".join(lines).encode()
        if packed:
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as together:
                for name, content in pictures.items():
                    together.writestr(name, content)
            pictures = {f"{split}.zip": archive.getvalue()}
        files |= {f"{split}/{name}": content for name, content in pictures.items()}
    hub.server.add("dataset", "them/pictures", files)
    (answer,) = read(hub, ("them/pictures", {}))
    assert [len(each) for each in answer["splits"].values()] == [8, 8]
    assert hub.run("-c", STREAMED).stdout.split()[-1] == "8"
