"""`recipe.yaml` in the folder of a run: written when it starts, and used when it is resumed."""

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hfseg.config.values import GivenOptions, OptionValues, plain
from hfseg.errors import UserError

if TYPE_CHECKING:
    from hfseg.config.resolve import Arguments

RECIPE_FILE = "recipe.yaml"
BEST_RECIPE = "best-recipe.yaml"
"""Of the best trial, in the folder of a search."""
_WHERE = (
    "output_dir", "resume_from_checkpoint", "overwrite_output_dir", "push_to_hub", "hub_model_id",
    "hub_private_repo", "hub_strategy", "hub_revision", "hub_always_push",
)  # fmt: skip
"""Where a run is and where it is pushed, which is not part of its recipe."""

_MAY_DIFFER = (
    *_WHERE, "disable_tqdm", "logging_steps", "log_level", "report_to", "run_name", "project",
    "save_total_limit", "per_device_eval_batch_size", "trust_remote_code", "use_cpu",
    "dataloader_num_workers", "dataloader_prefetch_factor", "dataloader_persistent_workers",
    "dataloader_pin_memory", "preprocessing_num_workers",
)  # fmt: skip
"""Options that don't change the resulting weights, so that they may change on resuming."""

_PATHS = (
    "dataset_path", "extra_dataset_path", "model_name_or_path", "encoder_weights", "init_from",
    "id2label",
    "class_weights", "augmentation",
)  # fmt: skip
"""Options that may be paths. They are stored as absolute paths, to resume from any folder."""


def recipe_of(arguments: "Arguments") -> OptionValues:
    """Flag -> value, enough to repeat the run on this machine."""
    left_out = {key for key in arguments.recipe if key in _WHERE or key.endswith("_token")}
    chosen = {k: value for k, value in arguments.recipe.items() if k not in left_out}
    return {key: _absolute(key, value) for key, value in sorted(chosen.items())}


def recipe_text(arguments: "Arguments") -> str:
    """`recipe_of` as the text of `recipe.yaml`."""
    name = Path(arguments.training.output_dir).name
    head = f"# repeats the run {name!r}: --config {RECIPE_FILE}\n"
    if arguments.objects:
        head = (
            f"# the options of the run {name!r}; to repeat it, give its objects again:\n"
            f"# hfseg.finetune(config={RECIPE_FILE!r}, {_objects(arguments)})\n"
        )
    return head + yaml.safe_dump(recipe_of(arguments), allow_unicode=True)


def how_to_resume(arguments: "Arguments") -> str:
    """The command or the Python call that resumes a run."""
    folder = arguments.training.output_dir
    if not arguments.objects:
        return f"hfseg finetune --output_dir {folder} --resume_from_checkpoint true"
    return (
        f"hfseg.finetune(output_dir={str(folder)!r}, resume_from_checkpoint=True, "
        f"{_objects(arguments)})"
    )


def _objects(arguments: "Arguments") -> str:
    """The parameters of `hfseg.finetune` that were given as objects."""
    names = {"dataset": ("dataset", "labels"), "model": ("model", "image_processor")}
    return ", ".join(f"{name}=..." for kind in arguments.objects for name in names[kind])


def wants_to_resume(options: GivenOptions) -> bool:
    """Whether `resume_from_checkpoint` is set, to a folder or to true."""
    value = options.get("resume_from_checkpoint")
    return value is not None and str(value).lower() not in ("false", "none", "")


def run_to_resume(options: GivenOptions, output_dir: str) -> Path | None:
    """The `recipe.yaml` of the run to resume, or None.

    Args:
        output_dir: the folder of the run, if the options don't give it.
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
    stored: GivenOptions, given: GivenOptions, defaults: GivenOptions, file: Path
) -> OptionValues:
    """The options of a resumed run: its own, and the given ones that may change.

    Args:
        stored: the options of the run.
        given: the options given now.
        defaults: of options that the run's recipe leaves out.
        file: the run's recipe.

    Raises:
        UserError: given options contradict the run.
    """
    free = {key: value for key, value in given.items() if _is_free(key, stored)}
    wrong = []
    for key in sorted(given.keys() - free.keys()):
        before = stored.get(key, defaults.get(key))
        if plain(_absolute(key, given[key])) != plain(before):
            wrong.append(f"--{key} {plain(given[key])} (the run has {plain(before)})")
    if wrong:
        one = len(wrong) == 1
        raise UserError(
            f"{', '.join(wrong)} {'contradicts' if one else 'contradict'} the run in "
            f"{file.parent}; leave {'it' if one else 'them'} out to resume, or give another "
            "--output_dir for another run"
        )
    return {**stored, "output_dir": str(file.parent), **free}


def _is_free(key: str, stored: GivenOptions) -> bool:
    """Whether an option may change: also a path that has been moved since."""
    moved = key in _PATHS and Path(str(stored.get(key, ""))).is_absolute()
    free = key in _MAY_DIFFER or key.endswith("_token")
    if key == "per_device_train_batch_size":  # the global batch stays the same
        free = stored.get("global_batch_size") is not None
    return free or (moved and not Path(stored[key]).exists())


def _absolute(key: str, value: object) -> object:
    if key not in _PATHS or not isinstance(value, str) or not Path(value).exists():
        return value
    return str(Path(value).resolve())
