"""Every recipe that comes with the package is whole, explained and understood."""

import pytest

from hfseg.config.recipe import RECIPES, read_recipe, recipe_names
from hfseg.config.resolve import parse
from hfseg.training.losses import parse_terms


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_is_valid(name: str) -> None:
    arguments = parse(["--config", name, "--mixed_precision", "no"])
    assert arguments.name == name or name == "own-data"
    assert arguments.model.model_name_or_path
    parse_terms(arguments.training.loss)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_has_a_describing_comment(name: str) -> None:
    text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ") and len(text.split("\n")[0]) > 20


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_repeats_no_default(name: str) -> None:
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    keys = [line.split(":")[0] for line in lines if line and line[0] not in "# "]
    assert len(keys) == len(set(keys)) == len(read_recipe(name))


@pytest.mark.parametrize("name", ["multi_gpu", "two_nodes", "fsdp"])
def test_accelerate_reads_its_config_files(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(RECIPES.parent / "accelerate" / f"{name}.yaml"))
    kinds = {"multi_gpu": "MULTI_GPU", "two_nodes": "MULTI_GPU", "fsdp": "FSDP"}
    assert config.distributed_type == kinds[name]
    assert config.num_machines == (2 if name == "two_nodes" else 1)
