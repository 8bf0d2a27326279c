"""Settings that the recipe for own data leaves to the data."""

from pathlib import Path

import pytest
import yaml
from conftest import make_folder

from hfseg.config.resolve import resolve
from hfseg.config.run_recipe import recipe_text
from hfseg.errors import UserError
from hfseg.training.data_defaults import RULES, Facts
from hfseg.workflows.finetune import finetune

STREET = Facts(
    images=81, images_per_step=8, side=720, rarest=("sign", 0.002), fixed_side=None,
    pretrained=True, batch_norm=False,
)  # fmt: skip


def chosen(rule: str, **changed: object) -> dict[str, object]:
    return RULES[rule](Facts(**{**STREET.__dict__, **changed})).values


@pytest.mark.parametrize(("images", "steps"), [(20, 1000), (2400, 15_000), (1_000_000, 40_000)])
def test_few_images_get_enough_steps_and_many_no_endless_run(images: int, steps: int) -> None:
    found = chosen("max_steps", images=images)
    assert found["max_steps"] == steps
    assert found["eval_steps"] == found["save_steps"] == steps // 20


@pytest.mark.parametrize(("side", "crop"), [(720, "512"), (333, "320"), (20, "32")])
def test_the_crop_is_no_larger_than_most_images(side: int, crop: str) -> None:
    assert chosen("crop_size", side=side) == {"crop_size": crop}


def test_a_model_of_one_size_gets_that_crop() -> None:
    assert chosen("crop_size", fixed_side=640) == {"crop_size": "640"}


def test_the_rate_follows_the_encoder_and_its_weights() -> None:
    rates = [
        chosen("learning_rate", pretrained=pretrained, batch_norm=batch_norm)["learning_rate"]
        for pretrained, batch_norm in ((True, False), (True, True), (False, True))
    ]
    assert rates == sorted(rates)
    assert len(set(rates)) == 3


def test_dice_is_added_for_rare_classes_only() -> None:
    assert chosen("loss") == {"loss": "ce+dice"}
    assert chosen("loss", rarest=("tree", 0.2)) == {"loss": "ce"}


def test_a_model_with_a_loss_of_its_own_keeps_it() -> None:
    assert chosen("loss", own_loss=True) == {"loss": "ce"}


def test_given_options_are_never_chosen_again() -> None:
    data = {"dataset_name": "folder", "dataset_path": "data"}
    assert resolve(data).chosen_by_data == tuple(RULES)
    for given, rule in (
        ({"num_train_epochs": 3}, "max_steps"),
        ({"time_budget": "1m"}, "max_steps"),
        ({"image_size": "64x64"}, "crop_size"),
        ({"learning_rate": 1e-4}, "learning_rate"),
        ({"loss": "focal"}, "loss"),
    ):
        assert set(RULES) - set(resolve({**data, **given}).chosen_by_data) == {rule}
    assert resolve({"config": "voc-segformer-b2", **data}).chosen_by_data == ()


def test_an_unknown_rule_is_named_with_the_known_ones(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("choose: [batch_size]\n")
    with pytest.raises(UserError, match="choose must be a list of max_steps, crop_size"):
        resolve({"config": str(recipe), "dataset_name": "toyscapes"})


def test_a_recipe_written_before_the_choice_leaves_the_rest_open(tmp_path: Path) -> None:
    given = {"dataset_name": "folder", "dataset_path": "data", "loss": "focal"}
    file = tmp_path / "best-recipe.yaml"  # as `hfseg tune` writes it
    file.write_text(recipe_text(resolve(given)))
    again = resolve({"config": str(file)})
    assert again.chosen_by_data == ("max_steps", "crop_size", "learning_rate")
    assert again.training.loss == "focal"


def run(folder: Path, **options: object) -> dict[str, object]:
    data = make_folder(folder / "data", count=13, size=(48, 40))
    small = {
        "dataset_name": "folder", "dataset_path": str(data), "output_dir": str(folder / "run"),
        "model_name_or_path": "segformer-tiny", "from_scratch": True, "augmentation": "light",
        "dataloader_num_workers": 0, "mixed_precision": "no",
    }  # fmt: skip
    finetune(resolve({**small, **options}))
    return yaml.safe_load((folder / "run" / "recipe.yaml").read_text())


def test_a_run_prints_each_choice_with_its_reason_and_keeps_it(tmp_path: Path, capsys) -> None:
    recipe = run(tmp_path, max_steps=2)
    printed = capsys.readouterr().out
    assert "crop_size 32 (most images have no side under 40)" in printed
    assert "learning_rate 0.001, head_lr_multiplier 1.0 (all weights are random)" in printed
    assert (recipe["crop_size"], recipe["learning_rate"]) == ("32", 1e-3)
    assert "choose" not in recipe


def test_a_resumed_run_keeps_what_was_chosen(tmp_path: Path, capsys) -> None:
    recipe = run(tmp_path, max_steps=2)
    again = resolve({"output_dir": str(tmp_path / "run"), "resume_from_checkpoint": True})
    assert again.chosen_by_data == ()
    assert again.data.crop_size == (32, 32)
    assert again.training.learning_rate == recipe["learning_rate"]


def test_evaluations_asked_for_stay_as_they_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hfseg.training.data_defaults._LEAST_STEPS", 4)
    monkeypatch.setattr("hfseg.training.data_defaults._EPOCHS", 1)
    recipe = run(tmp_path, eval_steps=2)
    assert (recipe["max_steps"], recipe["eval_steps"], recipe["save_steps"]) == (4, 2, 2)
