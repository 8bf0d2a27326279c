"""Resolves the options of a run: flags override the recipe, the recipe overrides the defaults."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hfseg.config.data import DataArguments, short_name_of
from hfseg.config.model import ModelArguments
from hfseg.config.parser import OptionParser
from hfseg.config.recipe import (
    CHOOSE,
    DEFAULT_RECIPE,
    OWN_DATA_RECIPE,
    SEARCH,
    read_recipe,
    recipe_names,
)
from hfseg.config.run_recipe import continued, run_to_resume
from hfseg.config.training import SegmentationTrainingArguments
from hfseg.config.values import GivenOptions, ImageSize, OptionValues, plain
from hfseg.errors import UserError
from hfseg.training.data_defaults import CHOSEN_FLAGS, DECIDED_BY, EVALUATED_AT, RULES

_ALWAYS_IN_RECIPE = (
    "eval_strategy", "save_strategy", "load_best_model_at_end", "metric_for_best_model",
    "save_total_limit", "logging_steps", "report_to", "hub_strategy", "seed",
)  # fmt: skip
"""Our defaults that differ from transformers'; the recipe of a run always includes them."""

_WHICH_DATASET = ("dataset_name", "dataset_path", "dataset_config", "label_mode")

_Group = TypeVar("_Group", DataArguments, ModelArguments, SegmentationTrainingArguments)

_DESCRIPTION = """Fine-tune a semantic segmentation model.

    hfseg finetune
    hfseg finetune --config camseq-segformer-b0 --dataset_path CamSeq01
    hfseg finetune --dataset_name folder --dataset_path my-data

Without flags it runs the quickstart: the built-in toyscapes and a small SegFormer, into
runs/quickstart. Flags of `accelerate launch`, such as --num_processes 4, start several processes.
"""


@dataclass
class Arguments:
    """The resolved options of a run.

    Attributes:
        data, model, training: the groups of options.
        recipe: flag -> value, from recipe and options; enough to repeat the run.
        name: of the recipe, or of dataset and model.
        command: the command line of the run, for its card.
        objects: what a Python call gives as an object: `dataset`, `model`, both or nothing.
        given: names of the options that were given, not taken from the recipe.
        chosen_by_data: the rules of `hfseg.training.data_defaults` that the recipe asks for, and
            that the given options leave something to choose.
    """

    data: DataArguments
    model: ModelArguments
    training: SegmentationTrainingArguments
    recipe: OptionValues
    name: str
    command: list[str]
    objects: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    chosen_by_data: tuple[str, ...] = ()


def training_parser(
    prog: str = "hfseg finetune", description: str | None = _DESCRIPTION
) -> OptionParser:
    """The flags of `hfseg finetune`, and of the commands that make runs."""
    parser = OptionParser(
        (DataArguments, ModelArguments, SegmentationTrainingArguments),
        prog=prog,
        description=description,
    )
    parser.add_argument(
        "--config",
        metavar="NAME_OR_FILE",
        help=f"a recipe: {', '.join(recipe_names())}, or a YAML file of flags",
    )
    return parser


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments of a run, from its command line; `--help` prints and exits.

    Raises:
        UserError: an unknown flag or key, or an invalid value.
    """
    return resolve(parse_options(training_parser(), argv), command=["hfseg", "finetune", *argv])


def parse_options(parser: OptionParser, argv: Sequence[str]) -> OptionValues:
    """The options of a command line; `--help` prints the defaults of the recipe, and exits.

    Args:
        parser: from `training_parser`.

    Raises:
        UserError: an unknown flag, or an invalid value.
    """
    others = [word for word in argv if not word.startswith(("-h", "--help"))]
    if len(others) == len(argv):
        return parser.parse(argv)
    given = parser.parse(others)
    base = base_recipe(given)
    whose = f"The defaults below are those of the recipe {base}."
    if base == DEFAULT_RECIPE:
        example = f"{parser.prog} --dataset_name folder --help"
        whose += f" For those of your own data:\n{example}"
    parser.description = f"{parser.description}\n{whose}\n"
    return parser.parse(argv, _values(parser, given, base) | _left_to_the_data(base, given))


def _left_to_the_data(base: str, given: GivenOptions) -> OptionValues:
    """What `--help` shows for flags that the rules of a recipe will set."""
    if given.get("streaming"):
        return {}
    decided = set(given) | (set(EVALUATED_AT) if given.keys() & set(EVALUATED_AT) else set())
    shown: OptionValues = {}
    for name in _rules(base, frozenset(given)):
        shown |= dict.fromkeys(DECIDED_BY[name])  # no defaults: not used unless given
        shown |= dict.fromkeys(set(CHOSEN_FLAGS[name]) - decided, "chosen to fit data and model")
    return shown


def resolve(
    options: GivenOptions, command: Sequence[str] = (), objects: tuple[str, ...] = ()
) -> Arguments:
    """The arguments of a run, from options by name.

    A recipe (`config`) fills in what the options leave out. Without one it is the quickstart, or
    `own-data` if a dataset or a model is given. A resumed run keeps its own recipe.

    Args:
        objects: as in `Arguments`. A dataset takes the place of the recipe's.

    Raises:
        UserError: an unknown name, an invalid value, or one that contradicts the run to resume.
    """
    parser = training_parser()
    base = base_recipe(options, objects)
    _check_length(options)
    replaced = _WHICH_DATASET if "dataset" in objects else ()
    values = _values(parser, options, base, replaced)
    name = Path(base).stem if base != OWN_DATA_RECIPE else _run_name(values)
    values.setdefault("output_dir", f"runs/{name}")
    run = run_to_resume(options, values["output_dir"])
    if run is not None:
        given = _values(parser, options, options.get("config"), replaced)
        defaults = {key: parser.get_default(key) for key in parser.flags}
        values = continued(_values(parser, read_recipe(str(run)), None), given, defaults, run)
    training = _training(values)
    recipe = {key: plain(value) for key, value in values.items()}
    defaults = {item.name: item.default for item in dataclasses.fields(training)}
    for key in _ALWAYS_IN_RECIPE:
        recipe.setdefault(key, defaults[key])
    data, model = _group(DataArguments, values), _group(ModelArguments, values)
    named = frozenset(key for key, value in options.items() if value is not None)
    rules = _rules(base, named) if run is None else ()
    if rules:
        recipe[CHOOSE] = list(rules)
    return Arguments(data, model, training, recipe, name, list(command), objects, named, rules)


def _check_length(options: GivenOptions) -> None:
    """Reject a time and a number of steps: one would silently override the other."""
    if options.get("time_budget") is None:
        return
    for flag in ("max_steps", "num_train_epochs"):
        if options.get(flag) is not None:
            raise UserError(
                f"--time_budget and --{flag} both set the length of the training; give one of them"
            )


def _rules(base: str, given: frozenset[str]) -> tuple[str, ...]:
    """What the recipe `base` leaves to the data, unless the given options decide it."""
    wanted = read_recipe(base).get(CHOOSE, [])
    if not isinstance(wanted, list) or not set(map(str, wanted)) <= RULES.keys():
        raise UserError(f"{base}: {CHOOSE} must be a list of {', '.join(RULES)}")
    return tuple(name for name in wanted if not given & {name, *DECIDED_BY[name]})


def base_recipe(options: GivenOptions, objects: tuple[str, ...] = ()) -> str:
    """`config`, or the recipe that is used without it."""
    if options.get("config") is not None:
        return str(options["config"])
    named = any(options.get(key) is not None for key in ("dataset_name", "model_name_or_path"))
    return OWN_DATA_RECIPE if named or objects else DEFAULT_RECIPE


def _values(
    parser: OptionParser, options: GivenOptions, base: str | None, replaced: Sequence[str] = ()
) -> OptionValues:
    """The values of the recipe `base` without those in `replaced`, overridden by the options."""
    given = {key: value for key, value in options.items() if value is not None}
    given.pop("config", None)
    recipe = {} if base is None else read_recipe(base)
    recipe = {k: value for k, value in recipe.items() if k not in (SEARCH, CHOOSE, *replaced)}
    if "mixed_precision" in given:
        recipe.pop("bf16", None)
        recipe.pop("fp16", None)
    elif given.keys() & {"bf16", "fp16"}:
        recipe.pop("mixed_precision", None)
    if given.keys() & {"max_steps", "num_train_epochs"}:
        recipe.pop("time_budget", None)
    if "lr_scheduler_type" in given:
        for key in ("lr_scheduler_kwargs", "lr_gamma", "lr_step_size", "lr_power"):
            recipe.pop(key, None)  # they belong to the recipe's schedule
    values: OptionValues = {}
    for where, part in ((base, recipe), (None, given)):
        for key, value in part.items():
            try:
                values[key] = parser.convert(key, value)
            except UserError as error:
                raise UserError(f"{where}: {error}" if where else str(error)) from None
        if base is not None:
            values |= _evaluated_checkpoints(values, part)
    if _pads_all_images(values, given):
        del values["crop_size"]
    return values


def _pads_all_images(values: GivenOptions, given: GivenOptions) -> bool:
    """Whether the crop of the recipe is larger than the images as they were asked for."""
    if given.get("image_size") is None or "crop_size" in given or not values.get("crop_size"):
        return False
    crop, image = ImageSize(values["crop_size"]), ImageSize(values["image_size"])
    return crop[0] > image[0] or crop[1] > image[1]


def _evaluated_checkpoints(values: GivenOptions, given: GivenOptions) -> OptionValues:
    """Evaluations and checkpoints at the same steps, unless both are requested.

    Only a checkpoint that was evaluated can be the best one. `eval_steps` or `save_steps` alone
    means the strategy `steps`.
    """
    evaluate, save = (
        plain(given.get(f"{job}_strategy")) or ("steps" if f"{job}_steps" in given else None)
        for job in ("eval", "save")
    )
    keeps_best = values.get("load_best_model_at_end", True)
    keeps_best = keeps_best and plain(values.get("eval_strategy")) != "no"
    if save is None and evaluate != "no":
        save = evaluate
    elif evaluate is None and save in ("epoch", "steps") and keeps_best:
        evaluate = save
    found = {"eval_strategy": evaluate, "save_strategy": save}
    if evaluate == save == "steps":
        # transformers evaluates whenever it logs, by default
        usual = values.get("eval_steps") or values.get("logging_steps", 10)
        found["eval_steps"] = given.get("eval_steps") or given.get("save_steps") or usual
        found["save_steps"] = given.get("save_steps") or found["eval_steps"]
    return {key: value for key, value in found.items() if value is not None}


def _group(group: type[_Group], values: GivenOptions) -> _Group:
    names = {item.name for item in dataclasses.fields(group) if item.init}
    return group(**{key: value for key, value in values.items() if key in names})


def _training(values: GivenOptions) -> SegmentationTrainingArguments:
    try:
        return _group(SegmentationTrainingArguments, values)
    except UserError:
        raise
    except Exception as error:  # of transformers and accelerate, which raise anything
        text = " ".join((str(error) or type(error).__name__).split())
        raise UserError(f"a training option is not valid: {text[:300]}") from error


def _run_name(values: GivenOptions) -> str:
    data = short_name_of(values.get("dataset_name"), values.get("dataset_path"))
    return f"{data}-{Path(str(values.get('model_name_or_path'))).name}"
