"""One set of numbers: in the card, in the JSON files, and when they are measured again."""

import json
import math
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import EvaluationArguments
from hfseg.config.resolve import resolve
from hfseg.errors import UserError
from hfseg.workflows.evaluate import evaluate_model
from hfseg.workflows.finetune import finetune


def stored(run: Path, split: str) -> dict:
    return json.loads((run / f"{split}_results.json").read_text())


def measured(run: Path, output: Path, split: str = "validation", **options):
    data = DataArguments(dataset_name="folder", dataset_path=str(run.parent / "data"), **options)
    wanted = EvaluationArguments(
        model_name_or_path=str(run), output_dir=str(output), split=split, check_card=True
    )
    return evaluate_model(wanted, data)


def test_the_card_claims_the_scores_of_the_json_file(finished_run: Path) -> None:
    claims = ModelCard.load(finished_run / "README.md").data.eval_results
    scores = stored(finished_run, "eval")
    assert {claim.metric_type for claim in claims} >= {"mean_iou", "mean_accuracy"}
    for claim in claims:
        assert claim.metric_value == scores[f"eval_{claim.metric_type}"]
        assert claim.dataset_split == "validation"


def test_every_number_of_the_cards_tables_is_in_the_json_file(finished_run: Path) -> None:
    text = (finished_run / "README.md").read_text()
    scores = stored(finished_run, "eval")
    test = stored(finished_run, "test")
    for name in ("ground", "wall", "roof"):
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        iou, accuracy = scores[f"eval_iou_{name}"], scores[f"eval_accuracy_{name}"]
        for value in (iou, accuracy):
            assert "absent" in row if value is None else f"{value:.4f}" in row
    row = next(line for line in text.splitlines() if line.startswith("| mean IoU"))
    assert f"{scores['eval_mean_iou']:.4f}" in row and f"{test['test_mean_iou']:.4f}" in row


def test_the_mean_of_the_json_file_is_that_of_its_classes(finished_run: Path) -> None:
    for split in ("eval", "test"):
        scores = stored(finished_run, split)
        ious = [scores[f"{split}_iou_{name}"] for name in ("ground", "wall", "roof")]
        ious = [iou for iou in ious if iou is not None and not math.isnan(iou)]
        assert scores[f"{split}_mean_iou"] == pytest.approx(sum(ious) / len(ious), abs=1e-12)


def test_measured_again_the_scores_are_those_of_the_run(finished_run, tmp_path, capsys) -> None:
    result = measured(finished_run, tmp_path / "out")
    assert result["mean_iou"] == pytest.approx(stored(finished_run, "eval")["eval_mean_iou"])
    assert "they agree" in capsys.readouterr().out


def test_a_claim_about_one_split_says_nothing_about_another(finished_run, tmp_path) -> None:
    with pytest.raises(UserError, match="claims a mean_iou on validation, not on test"):
        measured(finished_run, tmp_path / "out", split="test")


def test_a_run_at_an_image_size_is_measured_again_at_it(finished_run, tmp_path, capsys) -> None:
    data = shutil.copytree(finished_run.parent / "data", tmp_path / "data")
    options = {"image_size": "48x40", "crop_size": None, "eval_at_image_size": True}
    recipe = {"config": str(finished_run / "recipe.yaml"), "dataset_path": str(data)}
    run = tmp_path / "run"
    finetune(
        resolve(
            {
                **recipe,
                **options,
                "output_dir": str(run),
                "max_steps": 2,
                "eval_steps": 2,
                "save_steps": 2,
            }
        )
    )
    capsys.readouterr()
    result = measured(run, tmp_path / "out", image_size="48x40", eval_at_image_size=True)
    assert result["mean_iou"] == pytest.approx(stored(run, "eval")["eval_mean_iou"])
    assert "they agree" in capsys.readouterr().out
