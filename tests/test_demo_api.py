"""The demo as a web API: what its README shows, run as it stands there."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from demo_server import DEMO, draw_photo, tiny_models
from gradio_client import Client, handle_file
from PIL import Image
from tolerance import UNDECIDED, assert_same_mask

from hfseg.sam import refine_by_votes


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


@pytest.fixture(scope="module")
def address(demo_page) -> str:
    return demo_page.address


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False)


@pytest.fixture
def photo(tmp_path) -> Path:
    return draw_photo(tmp_path / "photo.jpg")


def example(language: str, address: str) -> str:
    text = (DEMO / "README.md").read_text(encoding="utf-8")
    block = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL).group(1)
    assert "http://127.0.0.1:7860" in block
    return block.replace("http://127.0.0.1:7860", address.rstrip("/"))


def test_the_python_example_of_the_readme_runs(address, photo, monkeypatch, capsys):
    monkeypatch.chdir(photo.parent)
    names: dict = {}
    exec(compile(example("python", address), "README.md", "exec"), names)
    assert Image.open(names["mask"]).mode == "P"
    assert "masks" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl: install curl")
def test_the_curl_example_of_the_readme_runs(address, photo):
    done = subprocess.run(
        ["bash", "-euc", example("bash", address)],
        cwd=photo.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("event: complete") == 3 and "event: error" not in done.stdout
    assert '"status":"ok"' in done.stdout


def test_segment_gives_what_the_segmenter_gives(client, models, photo):
    found = models.segmenters["second"](photo)
    mask, overlay, summary = client.predict(handle_file(photo), "second", api_name="/segment")
    assert_same_mask(Image.open(mask), found.mask)
    assert Image.open(overlay).size == (90, 60)
    assert summary["model"] == "second"
    shares = {entry["id"]: entry["share"] for entry in summary["classes"]}
    for index in np.unique(found.mask):
        assert shares[index] == pytest.approx(np.mean(found.mask == index), abs=UNDECIDED)


def test_everything_lists_each_mask_of_the_picture(client, photo):
    picture, summary = client.predict(handle_file(photo), 4, api_name="/segment_everything")
    numbers = np.asarray(Image.open(picture))
    assert numbers.shape == (60, 90) and numbers.max() == len(summary["masks"]) > 1
    last = summary["masks"][-1]  # the smallest, on top of all others
    assert np.count_nonzero(numbers == last["number"]) == last["area"]
    rows, columns = np.nonzero(numbers == last["number"])
    assert last["box"] == [columns.min(), rows.min(), columns.max(), rows.max()]


def test_refine_by_votes_is_the_function_of_the_package(client, models, photo):
    mask, _, summary = client.predict(handle_file(photo), "second", api_name="/refine")
    plain = models.segmenters["second"](photo).mask
    masks = models.sam().segment_everything(Image.open(photo), points_per_side=16)
    assert_same_mask(Image.open(mask), refine_by_votes(masks, plain))
    assert summary["changed"] > 0
    assert {entry["id"] for entry in summary["classes"]} == set(np.unique(plain))


def test_points_are_pixels_of_the_image_that_was_sent(client, models, tmp_path):
    """An image that is scaled down for SAM, and a point that has to be scaled with it."""
    photo = draw_photo(tmp_path / "wide.png", (2048, 256))
    points = [[1800, 200, 1]]
    mask, _, summary = client.predict(
        handle_file(photo), method="points", points=points, api_name="/refine"
    )
    small = Image.open(photo)
    small.thumbnail((1024, 1024))
    plain = models.segmenters["first"](small).mask
    masks = models.sam().prompt(small, points=[(900, 100)], point_labels=[1])
    assert summary["width"] == 1024 and "Scaled from 2048 × 256" in summary["note"]
    assert_same_mask(Image.open(mask), refine_by_votes(masks, plain))


def test_health_names_models_and_no_path_of_the_machine(client, tmp_path):
    health = client.predict(api_name="/health")
    assert health["status"] == "ok" and list(health["models"]) == ["first", "second"]
    (tmp_path / "my-sam").mkdir()
    assert tiny_models(str(tmp_path / "my-sam")).sam_name == "my-sam"
    assert tiny_models("facebook/sam2.1-hiera-tiny").sam_name == "facebook/sam2.1-hiera-tiny"


def test_sam_is_loaded_when_it_is_first_asked_and_then_kept(monkeypatch):
    from hfseg.sam import SamPredictor

    loaded = []
    monkeypatch.setattr(SamPredictor, "from_pretrained", lambda name: loaded.append(name) or name)
    models = tiny_models("me/sam")
    assert loaded == []
    assert models.sam() is models.sam()
    assert loaded == ["me/sam"]


def test_only_the_public_endpoints_are_offered_to_clients(client):
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(offered) == {"/segment", "/segment_everything", "/refine", "/health"}
    given = [each["label"] for each in offered["/segment"]["returns"]]
    assert given == ["mask", "overlay", "summary"]
