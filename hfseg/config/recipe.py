"""Recipes: YAML files of flags, from `hfseg/config/recipes/` or a user's own."""

import difflib
from pathlib import Path

import yaml

from hfseg.config.values import OptionValues
from hfseg.errors import UNREADABLE, UserError

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "quickstart"
OWN_DATA_RECIPE = "own-data"
SEARCH = "search"
"""Key of a recipe that is not a flag: the search space of `hfseg tune`."""
CHOOSE = "choose"
"""Key of a recipe that is not a flag: what follows from the data, a list of rules."""


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name_or_file: str) -> OptionValues:
    """Flag -> value, from a file or from the recipes that come with the package.

    Raises:
        UserError: no such recipe, or not a mapping of flags.
    """
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_file}.yaml"
    if not path.is_file():
        known = recipe_names()
        close = difflib.get_close_matches(name_or_file, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(known)}"
        raise UserError(f"--config {name_or_file}: no such recipe or file; {hint}")
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except UNREADABLE as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())[:300]})") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: expected lines of `flag: value`")
    for key in ("mixed_precision", "eval_strategy", "save_strategy"):
        if recipe.get(key) is False:  # YAML reads a bare `no` as false
            recipe[key] = "no"
    return recipe
