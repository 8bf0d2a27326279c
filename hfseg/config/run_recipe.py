"""`recipe.yaml` in the folder of a run: written when it starts, and used when it is resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hfseg.config.values import plain
from hfseg.errors import UserError

if TYPE_CHECKING:
    from hfseg.config.resolve import Arguments

RECIPE_FILE = "recipe.yaml"
_WHERE = (
    "output_dir", "resume_from_checkpoint", "overwrite_output_dir", "push_to_hub", "hub_model_id",
    "hub_private_repo", "hub_strategy", "hub_revision", "hub_always_push",
)  # fmt: skip
"""Where a run is and where it goes: not in its recipe."""

_MAY_DIFFER = (
    *_WHERE, "disable_tqdm", "logging_steps", "log_level", "report_to", "run_name", "project",
    "save_total_limit", "per_device_eval_batch_size", "trust_remote_code", "use_cpu",
    "dataloader_num_workers", "dataloader_prefetch_factor", "dataloader_persistent_workers",
    "dataloader_pin_memory",
)  # fmt: skip
"""What does not change the weights a run ends with: free to choose for each leg."""

_PATHS = (
    "dataset_path", "extra_dataset_path", "model_name_or_path", "encoder_weights", "id2label",
    "class_weights", "augmentation",
)  # fmt: skip
"""Options that may be paths. A path is kept complete: a run is resumed from any folder."""


def recipe_of(arguments: "Arguments") -> dict[str, Any]:
    """Flag -> value: what repeats the run on this machine."""
    left_out = {key for key in arguments.recipe if key in _WHERE or key.endswith("_token")}
    chosen = {k: value for k, value in arguments.recipe.items() if k not in left_out}
    return {key: _absolute(key, value) for key, value in sorted(chosen.items())}


def recipe_text(arguments: "Arguments") -> str:
    """`recipe_of` as the text of `recipe.yaml`."""
    name = Path(arguments.training.output_dir).name
    head = f"# repeats the run {name!r}: --config {RECIPE_FILE}\n"
    return head + yaml.safe_dump(recipe_of(arguments), allow_unicode=True)


def wants_to_resume(options: Mapping[str, Any]) -> bool:
    """Whether `resume_from_checkpoint` is set, to a folder or to true."""
    wish = options.get("resume_from_checkpoint")
    return wish is not None and str(wish).lower() not in ("false", "none", "")


def run_to_resume(options: Mapping[str, Any], output_dir: str) -> Path | None:
    """The `recipe.yaml` of the run that is to be resumed; None where there is none.

    Args:
        output_dir: where the run is, if the options don't say.
    """
    if not wants_to_resume(options):
        return None
    folder = Path(options.get("output_dir") or output_dir)
    checkpoint = Path(str(options["resume_from_checkpoint"]))
    if options.get("output_dir") is None and checkpoint.is_dir():
        folder = checkpoint.parent
    file = folder / RECIPE_FILE
    return file if file.is_file() else None


def continued(
    stored: Mapping[str, Any], asked: Mapping[str, Any], defaults: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """The options of a run that is resumed: its own, and those that are free for each leg.

    Args:
        stored: of the run.
        asked: what was given now.
        defaults: of options that the run doesn't name.
        file: the run's recipe.

    Raises:
        UserError: options that contradict the run, each by its name.
    """
    free = {key: value for key, value in asked.items() if _is_free(key, stored)}
    wrong = []
    for key in sorted(asked.keys() - free.keys()):
        before = stored.get(key, defaults.get(key))
        if plain(_absolute(key, asked[key])) != plain(before):
            wrong.append(f"--{key} {plain(asked[key])} (the run has {plain(before)})")
    if wrong:
        one = len(wrong) == 1
        raise UserError(
            f"{', '.join(wrong)} {'contradicts' if one else 'contradict'} the run in "
            f"{file.parent}; leave {'it' if one else 'them'} out to resume, or give another "
            "--output_dir for another run"
        )
    return {**stored, "output_dir": str(file.parent), **free}


def _is_free(key: str, stored: Mapping[str, Any]) -> bool:
    """Data that was moved since is named anew."""
    moved = key in _PATHS and Path(str(stored.get(key, ""))).is_absolute()
    free = key in _MAY_DIFFER or key.endswith("_token")
    return free or (moved and not Path(stored[key]).exists())


def _absolute(key: str, value: Any) -> Any:
    if key not in _PATHS or not isinstance(value, str) or not Path(value).exists():
        return value
    return str(Path(value).resolve())
