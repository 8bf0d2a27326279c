"""`hfseg benchmark`: how contenders are measured and reported, and that they do the same work."""

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import make_folder

from hfseg import cli
from hfseg.data import load_dataset
from hfseg.data.samples import Collator, TrainingSamples, on_device
from hfseg.data.transforms import TrainingTransform
from hfseg.models import load_model
from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare
from hfseg.workflows.benchmark.example import ExampleTransform
from hfseg.workflows.benchmark.time_to_quality import StopAtQuality


def measured(command: list[object], capsys: pytest.CaptureFixture[str]) -> list[dict]:
    """The comparisons in the last line that `hfseg benchmark` prints."""
    cli.run("benchmark", [str(word) for word in command])
    return json.loads(capsys.readouterr().out.splitlines()[-1])["comparisons"]


# ---- measuring ----


def test_contenders_take_turns_and_every_other_round_goes_backwards() -> None:
    seconds = {"a": iter([9.0, 2.0, 4.0]), "b": iter([9.0, 1.0, 1.0])}
    runs: list[str] = []

    def contender(name: str) -> Contender:
        return Contender(name, lambda: (runs.append(name), next(seconds[name]))[1])

    found = compare("t", [contender("a"), contender("b")], unit="image", amount=2, repeats=2)
    assert runs == ["a", "b", "a", "b", "b", "a"]
    assert found.seconds == {"a": [2.0, 4.0], "b": [1.0, 1.0]}  # without the warm-up


def test_a_ratio_compares_medians_with_the_named_baseline() -> None:
    found = Comparison("t", "image", 10, {"a": [2, 4, 90], "b": [1, 2, 3]}, baseline="a")
    assert (found.median("a"), found.ratio("b"), found.ratios("b")) == (4, 2, [2, 2, 30])
    assert found.against("b").ratio("a") == 0.5
    assert "b   200.00 ms per image  2.00 x  (2.00 to 30.00 by round)" in found.table()


def test_the_time_to_a_quality_counts_training_only() -> None:
    now, scores = iter([0.0, 3.0, 10.0, 14.0, 20.0]), iter([0.2, 0.5])
    stop = StopAtQuality(lambda: next(scores), target=0.4, every=5, clock=lambda: next(now))
    state = type("State", (), {"global_step": 0})()
    control = type("Control", (), {"should_training_stop": False})()
    stop.on_train_begin(None, state, control)
    for state.global_step in range(1, 11):
        stop.on_step_end(None, state, control)
    assert (stop.seconds, stop.scores) == (3.0 + 4.0, {5: 0.2, 10: 0.5})
    assert control.should_training_stop


def test_a_quality_that_is_not_reached_takes_for_ever() -> None:
    assert StopAtQuality(lambda: 0.0, target=0.4, every=5).seconds == math.inf


# ---- equal work ----


def test_the_examples_pipeline_and_ours_feed_a_model_the_same_numbers(tmp_path: Path) -> None:
    """Whole images, so that only the flip is left to chance."""
    data, labels = load_dataset("folder", str(make_folder(tmp_path / "data", count=8)))
    rows = data["train"]
    _, processor = load_model("segformer-tiny", labels, pretrained=False)
    example = ExampleTransform((48, 64), None, processor.image_mean, processor.image_std)
    theirs = rows.select_columns(["image", "label"]).with_transform(example)
    ours = TrainingSamples(rows, TrainingTransform("light", (48, 64), seed=0))
    collate = Collator(processor, resize=False)
    for index in range(len(rows)):
        batch, other = on_device(collate([ours[0, index]]), processor), theirs[index]
        pixels, mask = other["pixel_values"], other["labels"]
        if not torch.equal(mask, batch["labels"][0]):
            pixels, mask = pixels.flip(-1), mask.flip(-1)
        assert torch.equal(mask, batch["labels"][0])
        torch.testing.assert_close(batch["pixel_values"][0], pixels, rtol=0, atol=2e-6)


# ---- the command ----


def test_data_measures_both_pipelines(tmp_path: Path, capsys) -> None:
    folder = make_folder(tmp_path / "data", count=13)
    flags = ["--dataset_name", "folder", "--dataset_path", folder, "--crop_size", "32"]
    counts = ["--images", "8", "--batch_size", "4", "--workers", "0", "--repeats", "2"]
    (found,) = measured(["data", *flags, *counts], capsys)
    assert found["amount"] == 8
    assert found["baseline"] == "transformers' example"
    assert {name: len(each["seconds"]) for name, each in found["contenders"].items()} == {
        "transformers' example": 2, "hfseg": 2,
    }  # fmt: skip


def test_train_measures_steps_against_the_example_and_the_hardware(tmp_path: Path, capsys) -> None:
    folder = make_folder(tmp_path / "data", count=13)
    flags = ["--dataset_name", "folder", "--dataset_path", folder, "--crop_size", "32",
             "--model_name_or_path", "segformer-tiny", "--from_scratch",
             "--per_device_train_batch_size", "2", "--dataloader_num_workers", "0"]  # fmt: skip
    against_example, against_memory = measured(
        ["train", *flags, "--steps", "1", "--repeats", "1"], capsys
    )
    assert against_example["baseline"] == "transformers' example"
    assert against_memory["baseline"] == "batches in memory"
    assert against_example["contenders"].keys() == against_memory["contenders"].keys()
    assert all(each["median_seconds"] > 0 for each in against_example["contenders"].values())


def test_formats_measures_both_and_names_the_one_that_a_run_chooses(capsys) -> None:
    flags = ["--batch_size", "2", "--image_size", "32x64", "--repeats", "1"]
    models = ["segformer-tiny", "unet-tu-efficientnet_lite0"]
    found = measured(["formats", "--models", *models, *flags], capsys)
    assert all(
        {"fp32, contiguous", "fp32, channels last"} <= {*each["contenders"]} for each in found
    )
    assert [each["chosen in fp32"] for each in found] == ["contiguous", "channels last"]


@pytest.mark.slow
def test_predict_measures_the_pipeline_and_counts_equal_pixels(finished_run: Path, capsys) -> None:
    images = finished_run.parent / "data" / "images"
    command = ["predict", "--model_name_or_path", finished_run, "--images", images]
    found = measured([*command, "--max_images", "2", "--repeats", "1"], capsys)
    assert [each["baseline"] for each in found] == ["pipeline", "forward pass, fp32"]
    assert found[0]["pixels equal to the pipeline's, Segmenter, fp32"] == "100.0000%"


def test_an_unknown_benchmark_is_refused_by_name(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.run("benchmark", ["speed"])
    assert "choose from reading, data, train" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_measures_the_passes_and_the_metrics(finished_run: Path, capsys) -> None:
    data = ["--dataset_name", "folder", "--dataset_path", finished_run.parent / "data"]
    command = ["evaluate", "--model_name_or_path", finished_run, *data, "--repeats", "1"]
    passes, metrics = measured(command, capsys)
    assert list(passes["contenders"]) == [
        "forward pass", "evaluation, mean IoU", "evaluation, all metrics",
    ]  # fmt: skip
    assert "evaluate.load(hfseg.MEAN_IOU)" in metrics["contenders"]


@pytest.mark.slow
def test_startup_measures_imports_and_the_first_step(capsys) -> None:
    (found,) = measured(["startup", "--repeats", "1"], capsys)
    assert list(found["contenders"])[-1] == "hfseg finetune, to its first step"


@pytest.mark.slow
def test_time_to_quality_trains_both_until_they_are_good_enough(tmp_path: Path, capsys) -> None:
    folder = make_folder(tmp_path / "data", count=13)
    flags = ["--dataset_name", "folder", "--dataset_path", folder, "--crop_size", "32",
             "--model_name_or_path", "segformer-tiny", "--from_scratch",
             "--per_device_train_batch_size", "2", "--max_steps", "4"]  # fmt: skip
    (found,) = measured(["time-to-quality", *flags, "--target", "0", "--every", "2"], capsys)
    scores = found["mean IoU by step"]
    assert {name: [list(run) for run in runs] for name, runs in scores.items()} == {
        "transformers' example": [["2"]], "hfseg finetune": [["2"]],
    }  # fmt: skip


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(capsys) -> None:
    cli.run("benchmark", ["memory", "--counts", "20", "200", "--side", "1500"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["evaluation"]["200"] < 1.05 * found["evaluation"]["20"]
    assert found["sliding_window"]["correct"]
