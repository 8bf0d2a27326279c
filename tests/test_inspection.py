"""`hfseg inspect` and the cache of resized samples."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from PIL import Image
from transformers import SegformerImageProcessor

from hfseg import load_dataset
from hfseg.cli.inspect import main
from hfseg.data.checks import by_kind, inspect
from hfseg.data.dataset import read_dataset
from hfseg.data.locate import LoadOptions
from hfseg.data.resized import resized_rows
from hfseg.data.samples import TrainingSamples
from hfseg.data.specks import count_specks
from hfseg.data.transforms import TrainingTransform
from hfseg.errors import UserError
from hfseg.workflows.dataset_report import write_inspection


def test_inspection_counts_pixels_images_and_sizes(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "data", count=10)
    found = inspect(read_dataset("folder", str(source)))
    masks = [np.array(Image.open(file)) for file in (source / "masks").iterdir()]
    for index in range(3):
        pixels = sum(summary.pixels[index] for summary in found.splits.values())
        images = sum(summary.in_images[index] for summary in found.splits.values())
        assert pixels == sum(int((mask == index).sum()) for mask in masks)
        assert images == sum(bool((mask == index).any()) for mask in masks)
    assert found.splits["train"].sizes == {"64x48": 8}
    train = np.array(found.splits["train"].pixels)
    np.testing.assert_allclose(np.array(found.weights) * train, train.sum() / 3, rtol=1e-3)


def test_inspection_warns_of_shared_images_and_absent_classes(tmp_path: Path) -> None:
    source = tmp_path / "data"
    for split in ("train", "val"):
        make_folder(source / split, count=2)
    (source / "classes.txt").write_text("ground\nwall\nroof\ndoor\n")
    report = LoadOptions(on_bad_sample="report")
    warnings = " | ".join(inspect(read_dataset("folder", str(source), options=report)).warnings)
    assert "000.png: the same image as 000.png of train, so scores are too good" in warnings
    assert "2 of 2 images of validation are near-duplicates of training images" in warnings
    assert "class 'door' (3) never occurs" in warnings


def test_inspect_leaves_a_page_with_every_problem(tmp_path: Path, capsys) -> None:
    source = make_folder(tmp_path / "data", count=8)
    Image.new("L", (9, 9)).save(source / "masks" / "003.png")
    folder = tmp_path / "report"
    flags = ["--dataset_name", "folder", "--dataset_path", str(source), "--preview"]
    with pytest.raises(SystemExit) as left:  # training would stop
        main([*flags, "--output_dir", str(folder), "--augmentation", "roboflow"])
    assert left.value.code == 1
    printed = capsys.readouterr().out
    report = json.loads((folder / "report.json").read_text())
    assert len(report["problems"]) == 1 and "003.png" in report["problems"][0]
    assert "003.png" in printed and "1 problem\n" in printed and "ms per image" in printed
    assert "003.png" in (folder / "report.html").read_text()
    for sheet in ("contact_sheet.png", "preview.png"):
        assert Image.open(folder / sheet).width > 600


def test_the_page_escapes_names_of_classes(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "data", count=6)
    (source / "classes.txt").write_text("ground\n<script>\nroof\n")
    found = inspect(read_dataset("folder", str(source)))
    write_inspection(tmp_path / "report", "a & b", found, {})
    page = (tmp_path / "report" / "report.html").read_text()
    assert "&lt;script&gt;" in page and "<script>" not in page and "a &amp; b" in page


def test_cached_pixels_are_those_that_training_resizes_to(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    data, _ = load_dataset("folder", str(make_folder(tmp_path / "data", count=5)))
    processor = SegformerImageProcessor(do_resize=True, size={"height": 24, "width": 40})
    cached = resized_rows(data["train"], processor)
    assert "4 images at 24 x 40 need 0.00 GB" in caplog.text
    assert cached.file.stat().st_size == 4 * 24 * 40 * 4 + 128
    transform = TrainingTransform("standard", (16, 16), 0)
    plain = TrainingSamples(data["train"], transform, processor)
    quick = TrainingSamples(resized_rows(data["train"], processor), transform)
    for index in range(4):
        for key in ("image", "label"):
            np.testing.assert_array_equal(plain[(2, index)][key], quick[(2, index)][key])


def test_a_cache_that_does_not_fit_is_reported_before_it_is_written(
    tmp_path: Path, monkeypatch
) -> None:
    data, _ = load_dataset("folder", str(make_folder(tmp_path / "data", count=5)))
    processor = SegformerImageProcessor(do_resize=True, size={"height": 32, "width": 32})
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(UserError, match=r"need 0\.00 GB on disk, but"):
        resized_rows(data["train"], processor)


def test_problems_are_grouped_by_what_they_say() -> None:
    sentences = [f"masks/{i}.png: value {i} occurs in {3 * i} pixels" for i in range(5)]
    sentences += ["a.png: no mask b.png for it"]
    assert [len(group) for group in by_kind(sentences)] == [5, 1]


def test_inspect_prints_three_examples_of_each_kind_of_problem(tmp_path: Path, capsys) -> None:
    source = make_folder(tmp_path / "data", count=12)
    for index in range(5):
        Image.new("L", (64, 40 + index)).save(source / "masks" / f"{index:03d}.png")
    (source / "masks" / "008.png").unlink()
    with pytest.raises(SystemExit) as left:
        main(["--dataset_name", "folder", "--dataset_path", str(source),
              "--output_dir", str(tmp_path / "report")])  # fmt: skip
    printed = capsys.readouterr().out
    assert left.value.code == 1 and "6 problems" in printed
    assert printed.count("both must have the same size") == 3 and "and 2 more like these" in printed
    assert printed.count("no mask") == 1
    main(["--dataset_name", "folder", "--dataset_path", str(source), "--on_bad_sample", "skip",
          "--output_dir", str(tmp_path / "report")])  # fmt: skip
    assert "samples with problems are left out" in capsys.readouterr().out


def test_a_speck_is_a_pixel_that_no_neighbor_resembles() -> None:
    ids = np.zeros((8, 9), np.uint8)
    ids[2, 2], ids[5, 5:7], ids[0, 0], ids[7, 8] = 1, 2, 3, 255
    assert count_specks(ids, 255) == 2
