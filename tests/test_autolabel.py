"""`hfseg autolabel` and training on its labels: unsure pixels are ignored, scores stay human."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_run import OPTIONS
from tiny_sam3 import tiny_sam3

from hfseg import LabelSet, Segmenter, load_dataset
from hfseg.config.autolabel import AutolabelArguments
from hfseg.config.data import DataArguments
from hfseg.config.resolve import resolve
from hfseg.data.samples import EpochSampler
from hfseg.errors import UserError
from hfseg.evaluation.teacher import PromptedClasses, Teacher
from hfseg.inference.result import Options
from hfseg.metrics.calibration import THRESHOLDS, threshold_counts, threshold_for
from hfseg.sam.class_prompter import ClassPrompter
from hfseg.sam.masks import SamMasks
from hfseg.sam.refinement import refine_by_votes
from hfseg.workflows.assemble import load_data
from hfseg.workflows.autolabel import autolabel
from hfseg.workflows.finetune import finetune


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photos that the finished run has not seen, without masks."""
    data = make_folder(tmp_path_factory.mktemp("photos") / "new", 5, (32, 36))
    (data / "images" / "000.png").rename(data / "images" / "first.png")
    return data / "images"


def label(model: Path, photos: Path, output: Path, **options: object) -> int:
    wanted = AutolabelArguments(model_name_or_path=str(model), **{"min_confidence": 0.5, **options})
    data = DataArguments(dataset_name="folder", dataset_path=str(model.parent / "data"))
    return autolabel(wanted, data, [str(photos)], str(output))


# ---- the threshold ----


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
       st.floats(0.1, 1))  # fmt: skip
def test_the_threshold_is_the_lowest_that_keeps_the_precision(
    pixels: list[tuple[float, bool]], precision: float
) -> None:
    confidence = np.array([[pixel[0] for pixel in pixels]], np.float32)
    right = np.array([[pixel[1] for pixel in pixels]])
    counts = threshold_counts(confidence, right, np.ones_like(right))
    found = threshold_for(counts, precision)
    bins = np.minimum((confidence * THRESHOLDS).astype(int), THRESHOLDS - 1)

    def holds(threshold: int) -> bool:
        kept = bins >= threshold
        return bool(kept.any() and right[kept].sum() >= precision * kept.sum())

    lowest = next((each for each in range(THRESHOLDS) if holds(each)), None)
    assert (found is None) == (lowest is None)
    assert found is None or round(found * THRESHOLDS) == lowest


# ---- the labels ----


def test_unsure_pixels_are_ignored_and_the_folder_reads_as_data(
    finished_run: Path, photos: Path, tmp_path: Path
) -> None:
    segmenter = Segmenter.from_pretrained(finished_run, device="cpu")
    found = segmenter(photos / "first.png", return_confidence=True)
    least = float(np.median(found.confidence))
    output = tmp_path / "more"
    assert label(finished_run, photos, output, min_confidence=least) == 5
    mask = np.asarray(Image.open(output / "masks" / "first.png"))
    np.testing.assert_array_equal(mask, np.where(found.confidence < least, 255, found.mask))
    data, labels = load_dataset("folder", str(output), train_val_test_split=(1, 0, 0))
    assert len(data["train"]) == 5 and labels.names == segmenter.labels.names
    with (output / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} == {str(finished_run)} and len(rows) == 5
    first = next(row for row in rows if row["image"] == "images/first.png")
    assert float(first["labeled"]) == pytest.approx((mask != 255).mean(), abs=1e-4)


def test_the_command_says_how_much_is_labeled_as_which_class(
    finished_run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    label(finished_run, photos, tmp_path / "more", min_confidence=0.0)
    masks = [np.asarray(Image.open(path)) for path in (tmp_path / "more/masks").rglob("*.png")]
    counts = sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)
    names = load_dataset("folder", str(finished_run.parent / "data"))[1].names
    printed = capsys.readouterr().out.splitlines()[-1]
    for index, name in enumerate(names):
        share = f"{100 * counts[index] / counts.sum():.1f} %" if counts[index] else "none"
        assert f"{name} {share}" in printed


def test_labeling_goes_on_where_it_stopped_and_only_by_the_same_teacher(
    finished_run: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "more"
    label(finished_run, photos, output)
    (output / "masks" / "first.png").unlink()
    kept = (output / "masks" / "001.png").stat().st_mtime_ns
    assert label(finished_run, photos, output) == 5
    assert (output / "masks" / "001.png").stat().st_mtime_ns == kept
    with pytest.raises(UserError, match="another min_confidence"):
        label(finished_run, photos, output, min_confidence=0.6)


def test_the_stated_precision_holds_on_the_split(finished_run: Path) -> None:
    data, _ = load_dataset("folder", str(finished_run.parent / "data"), split="train")
    teacher = Teacher([Segmenter.from_pretrained(finished_run, device="cpu")])
    table = np.arange(256)
    plain = [np.asarray(row["label"]) for row in data["train"]]

    def precision() -> float:
        kept = hits = 0
        for row, truth in zip(data["train"], plain, strict=True):
            mask = teacher.segment(row["image"], Options()).mask
            counted = (mask != 255) & (truth != 255)
            kept, hits = kept + counted.sum(), hits + (mask == truth)[counted].sum()
        return float(hits / kept)

    sure = [teacher.segment(row["image"], Options()).confidence for row in data["train"]]
    teacher.min_confidence = np.floor(1000 * np.median(sure)) / 1000
    reached, least = precision() - 1e-6, teacher.min_confidence
    found = teacher.require_precision(reached, data["train"], table, Options())
    assert found == teacher.min_confidence <= least and precision() >= reached
    with pytest.raises(UserError, match="give a lower precision, or a better model"):
        teacher.require_precision(0.1, data["train"], table + 100, Options())


def test_a_precision_found_on_few_images_comes_with_a_warning(
    finished_run: Path, photos: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    few = {"min_confidence": None, "precision": 0.3, "split": "train"}
    label(finished_run, photos, tmp_path / "few", **few)
    assert "several points under 30 %, as these are few" in capsys.readouterr().out
    monkeypatch.setattr("hfseg.workflows.autolabel._ENOUGH", 2)
    label(finished_run, photos, tmp_path / "enough", **few)
    printed = capsys.readouterr().out
    assert "are right from a confidence of" in printed and "few" not in printed


def test_an_ensemble_averages_probabilities(finished_run: Path, photos: Path) -> None:
    one, two = (Segmenter.from_pretrained(finished_run, device="cpu") for _ in range(2))
    two.model.decode_head.classifier.bias.data[2] += 1.5
    image = Image.open(photos / "first.png").convert("RGB")
    asked = [each(image, return_probabilities=True).probabilities for each in (one, two)]
    mean = (asked[0] + asked[1]) / 2
    found = Teacher([one, two]).segment(image, Options())
    np.testing.assert_array_equal(found.mask, mean.argmax(0))
    np.testing.assert_allclose(found.confidence, mean.max(0), atol=1e-6)
    two.labels = LabelSet(("a", "b", "c"))
    with pytest.raises(UserError, match="the models have different classes"):
        Teacher([one, two])


def test_sam_moves_boundaries_and_the_confidence_is_that_of_the_new_class(
    finished_run: Path, photos: Path
) -> None:
    segmenter = Segmenter.from_pretrained(finished_run, device="cpu")
    image = Image.open(photos / "first.png").convert("RGB")
    plain = segmenter(image, return_probabilities=True)
    halves = np.zeros((2, image.height, image.width), bool)
    halves[0, : image.height // 2], halves[1, image.height // 2 :] = True, True
    masks = SamMasks(halves, np.ones(2, np.float32))
    sam = SimpleNamespace(segment_everything=lambda given: masks)
    found = Teacher([segmenter], sam).segment(image, Options())
    expected = refine_by_votes(masks, plain.mask)
    np.testing.assert_array_equal(found.mask, expected)
    chosen = np.take_along_axis(plain.probabilities, expected[None].astype(int), 0)[0]
    np.testing.assert_allclose(found.confidence, chosen, atol=1e-6)


def test_sam_3_labels_by_names_and_is_as_sure_as_its_score(photos: Path, tmp_path: Path) -> None:
    labels = LabelSet(("background", "road", "sky"))
    prompter = ClassPrompter(*tiny_sam3(), labels)
    image = Image.open(photos / "first.png").convert("RGB")
    answer = prompter.segment(image)
    assert (answer.confidence[answer.semantic != 0] > 0.5).all()
    assert (answer.confidence[answer.semantic == 0] >= 0.5).all()
    teacher = Teacher([PromptedClasses(prompter, labels)], min_confidence=0.6)
    found = teacher.segment(image, Options())
    unsure = answer.confidence < 0.6
    np.testing.assert_array_equal(found.mask, np.where(unsure, 255, answer.semantic))
    with pytest.raises(UserError, match="leave out --ensemble"):
        teacher.segment(image, Options.make(tta="flip"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give either --min_confidence or --precision"),
        ({"min_confidence": 0.5, "precision": 0.9}, "give either --min_confidence or --precision"),
        ({"min_confidence": 1.5}, "--min_confidence must be from 0 to 1"),
        ({"min_confidence": 0.5, "sam3": "s"}, "give either --model_name_or_path or --sam3"),
    ],
)
def test_a_teacher_and_how_sure_it_must_be_are_asked_for(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        AutolabelArguments(model_name_or_path="m", **options)


# ---- training on them ----


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(0, 20), st.floats(0.05, 1), st.integers(0, 5))
def test_an_epoch_has_every_human_sample_and_the_stated_part_of_the_extra_ones(
    human: int, extra: int, weight: float, epoch: int
) -> None:
    sampler = EpochSampler(human + extra, seed=1, extra=extra, extra_weight=weight)
    sampler.start_epoch(epoch)
    indices = [index for _, index in sampler]
    assert len(indices) == len(set(indices)) == len(sampler) == human + round(extra * weight)
    assert set(range(human)) <= set(indices)


def test_other_epochs_have_other_extra_samples() -> None:
    sampler = EpochSampler(40, seed=1, extra=30, extra_weight=0.5)
    seen = []
    for epoch in range(2):
        sampler.start_epoch(epoch)
        seen.append({index for _, index in sampler if index >= 10})
    assert seen[0] != seen[1] and len(seen[0]) == 15


@pytest.fixture(scope="module")
def labeled(
    finished_run: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Human-labeled data, and a folder labeled by a model."""
    output = tmp_path_factory.mktemp("labeled") / "more"
    label(finished_run, photos, output, min_confidence=0.0)
    return finished_run.parent / "data", output


def options_of(data: Path, extra: Path, output: Path) -> dict:
    return {
        **OPTIONS, "dataset_path": str(data), "extra_dataset_path": str(extra),
        "output_dir": str(output), "crop_size": "32",
    }  # fmt: skip


def test_a_run_trains_on_both_and_is_scored_on_human_labels(
    labeled: tuple[Path, Path], tmp_path: Path
) -> None:
    options = options_of(*labeled, tmp_path / "run")
    del options["max_steps"]
    options |= {"num_train_epochs": 1, "per_device_train_batch_size": 1, "extra_weight": 0.4}
    arguments = resolve({**options, "eval_strategy": "no", "save_strategy": "no"})
    data, _ = load_data(arguments)
    human = {split: len(rows) for split, rows in data.items() if split != "extra"}
    assert sum(human.values()) == 13 and len(data["extra"]) == 5
    run = finetune(arguments)
    state = (run.output_dir / "trainer_state.json").read_text()
    assert f'"global_step": {human["train"] + 2}' in state
    assert "extra_dataset_path" in (run.output_dir / "recipe.yaml").read_text()


def test_nothing_is_scored_on_what_a_model_labeled(
    labeled: tuple[Path, Path], tmp_path: Path
) -> None:
    data, extra = labeled
    with pytest.raises(UserError, match="a model made these masks"):
        load_data(resolve(options_of(extra, extra, tmp_path)))
    both = shutil.copytree(extra, tmp_path / "both")
    validation, _ = load_dataset("folder", str(data), split="validation")
    validation["validation"][0]["image"].save(both / "images" / "taken.png")
    shutil.copy(both / "masks" / "first.png", both / "masks" / "taken.png")
    Image.new("L", validation["validation"][0]["image"].size).save(both / "masks" / "taken.png")
    with pytest.raises(
        UserError, match=r"taken.png is the same image as .*\(1 of 6 images in all\)"
    ):
        load_data(resolve(options_of(data, both, tmp_path)))


def test_extra_images_need_the_same_classes(labeled: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = labeled
    other = make_folder(tmp_path / "other", 3, (32, 32))
    (other / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(UserError, match="its classes are a, b, c, those of the data ground"):
        load_data(resolve(options_of(data, other, tmp_path)))
