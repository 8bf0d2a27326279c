"""Confidence: its error is measured, a temperature corrects it, and no mask changes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import OPTIONS

from hfseg import Segmenter
from hfseg.config.data import DataArguments
from hfseg.config.evaluation import EvaluationArguments
from hfseg.config.resolve import resolve
from hfseg.errors import UserError
from hfseg.metrics.calibration import (
    confidence_counts,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from hfseg.models.confidence import (
    at_temperature,
    save_temperature,
    set_temperature,
    temperature_of,
    top_probability,
)
from hfseg.workflows.evaluate import evaluate_model
from hfseg.workflows.finetune import finetune

TEMPERATURE = 2.5


# ---- measures ----


def test_the_calibration_error_is_the_weighted_distance_of_accuracy_and_confidence() -> None:
    confidence = torch.tensor([[0.95, 0.95, 0.95, 0.95, 0.55, 0.55, 0.99]])
    right = torch.tensor([[True, True, True, False, True, False, True]])
    counted = torch.tensor([[True] * 6 + [False]])
    counts = confidence_counts(confidence, right, counted).numpy()
    expected = (4 * abs(0.75 - 0.95) + 2 * abs(0.5 - 0.55)) / 6
    assert expected_calibration_error(counts) == pytest.approx(expected, abs=1e-6)
    bins = reliability(counts)
    np.testing.assert_allclose(bins["accuracy"], [0.5, 0.75])
    np.testing.assert_allclose(bins["fraction"], [1 / 3, 2 / 3])


def test_nothing_counted_is_no_calibration() -> None:
    none = torch.zeros(1, 3, dtype=torch.bool)
    assert np.isnan(expected_calibration_error(confidence_counts(torch.ones(1, 3), none, none)))


# ---- the temperature ----


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(true: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 5, generator=generator)
    labels = torch.multinomial((logits / true).softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.05)


def test_without_labeled_pixels_no_temperature_is_found() -> None:
    with pytest.raises(UserError, match="no labeled pixel"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0).long())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=6),
    st.floats(0.05, 20),
)
def test_a_temperature_keeps_the_order_of_the_classes(logits: list[float], value: float) -> None:
    scores = torch.tensor(logits, dtype=torch.float64)
    before = scores.softmax(0)
    after = at_temperature(before, value)
    assert float(after.sum()) == pytest.approx(1)
    assert after.argmax() == before.argmax() or after.max() == after[before.argmax()]
    torch.testing.assert_close(after, (scores / value).softmax(0), rtol=1e-5, atol=1e-9)
    top = top_probability(scores[None, :, None, None], value)
    assert float(top) == pytest.approx(float(after.max()), rel=1e-5)


def photo() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize("how", [{}, {"tta": "flip,0.5,1.0"}, {"sliding_window": 32}])
def test_a_temperature_changes_confidences_and_no_mask(finished_run: Path, how: dict) -> None:
    segmenter = Segmenter.from_pretrained(finished_run, device="cpu")
    asked = {**how, "return_probabilities": True, "return_confidence": True}
    plain = segmenter(photo(), **asked)
    set_temperature(segmenter.model, TEMPERATURE)
    cooler = segmenter(photo(), **asked)
    np.testing.assert_array_equal(cooler.mask, plain.mask)
    expected = plain.probabilities ** (1 / TEMPERATURE)
    expected /= expected.sum(0)
    np.testing.assert_allclose(cooler.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(cooler.confidence, expected.max(0), atol=1e-5)
    alone = segmenter(photo(), **how, return_confidence=True)
    np.testing.assert_allclose(alone.confidence, cooler.confidence, atol=1e-5)
    np.testing.assert_array_equal(alone.mask, plain.mask)


def test_confidence_in_bounded_memory_is_the_plain_one(finished_run: Path, monkeypatch) -> None:
    segmenter = Segmenter.from_pretrained(finished_run, device="cpu")
    plain = segmenter(photo(), return_confidence=True)
    monkeypatch.setattr("hfseg.inference.segmenter._RESIZED_VALUES_AT_ONCE", 40 * 56)
    bounded = segmenter(photo(), return_confidence=True)
    np.testing.assert_array_equal(bounded.mask, plain.mask)
    np.testing.assert_allclose(bounded.confidence, plain.confidence, atol=1e-6)


@pytest.mark.parametrize("value", [0, -1, "warm"])
def test_a_wrong_temperature_in_a_config_is_named(finished_run: Path, value: object) -> None:
    segmenter = Segmenter.from_pretrained(finished_run, device="cpu")
    set_temperature(segmenter.model, value)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="calibration_temperature"):
        segmenter(photo(), return_confidence=True)


# ---- runs and evaluations ----


def test_evaluate_calibrates_a_model_and_scores_stay(finished_run: Path, tmp_path: Path) -> None:
    model = shutil.copytree(finished_run, tmp_path / "model")
    data = DataArguments(dataset_name="folder", dataset_path=str(finished_run.parent / "data"))

    def evaluate(name: str, **options: object) -> dict:
        wanted = EvaluationArguments(
            model_name_or_path=str(model), output_dir=str(tmp_path / name), split="train", **options
        )
        return dict(evaluate_model(wanted, data))

    before, fitted = evaluate("a"), evaluate("b", calibrate=True)
    assert before["temperature"] == 1 and (tmp_path / "a" / "reliability.png").is_file()
    assert fitted["expected_calibration_error_before"] == pytest.approx(
        before["expected_calibration_error"], abs=1e-6
    )
    saved = temperature_of(Segmenter.from_pretrained(model, device="cpu").model)
    assert saved == fitted["temperature"] != 1
    assert fitted["expected_calibration_error"] != before["expected_calibration_error"]
    assert fitted["mean_iou"] == before["mean_iou"]
    assert "(temperature" in (tmp_path / "b" / "results.md").read_text()
    with pytest.raises(UserError, match="not a folder: download the model"):
        wanted = EvaluationArguments(model_name_or_path="me/model", calibrate=True)
        evaluate_model(wanted, data)


def test_a_run_saves_its_temperature_and_training_on_forgets_it(
    finished_run: Path, tmp_path: Path
) -> None:
    start = shutil.copytree(finished_run, tmp_path / "start")
    save_temperature(start, 7.0)
    options = {
        **OPTIONS, "dataset_path": str(finished_run.parent / "data"), "from_scratch": False,
        "model_name_or_path": str(start), "max_steps": 1, "output_dir": str(tmp_path / "run"),
    }  # fmt: skip
    run = finetune(resolve({**options, "calibrate": True}))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["calibration_temperature"] == run.scores["temperature"] != 7
    assert temperature_of(run.segmenter.model) == run.scores["temperature"]
    again = Segmenter.from_pretrained(tmp_path / "run" / "checkpoint-1", device="cpu")
    assert temperature_of(again.model) == 1
    assert 0 < run.scores["expected_calibration_error"] < 1
    assert 0 < run.test_scores["expected_calibration_error"] < 1
