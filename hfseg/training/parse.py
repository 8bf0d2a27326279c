"""Command line and recipe -> arguments. Flags override the recipe, the recipe the defaults."""

import argparse
import ast
import dataclasses
import difflib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from hfseg.errors import UserError
from hfseg.training.arguments import (
    GROUPS,
    TRAINING_DEFAULTS,
    TRAINING_FIXED,
    DataArguments,
    ModelArguments,
    RunArguments,
)

if TYPE_CHECKING:
    from transformers import TrainingArguments

RECIPES = Path(__file__).parent.parent / "recipes"
DEFAULT_RECIPE = "quickstart"
OWN_DATA_RECIPE = "own-data"
SEARCH = "search"
"""The one key of a recipe that is no flag: the space for `scripts/tune.py`."""


@dataclass
class Arguments:
    """Everything a run was told, resolved."""

    data: DataArguments
    model: ModelArguments
    run: RunArguments
    training: "TrainingArguments"
    recipe: dict[str, Any]
    """Flag name -> value of what was said by recipe and flags: enough to repeat the run."""
    argv: list[str]
    name: str
    """Name of the recipe, or of data set and model."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[0].lower()}{message[1:]}; see --help")


def recipe_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name_or_file: str) -> dict[str, Any]:
    """Flag name -> value, from a file or from the recipes that come with the package."""
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_file}.yaml"
    if not path.is_file():
        close = difflib.get_close_matches(name_or_file, recipe_names(), n=3)
        raise UserError(
            f"--config {name_or_file}: no such recipe or file; "
            + (f"did you mean {' or '.join(close)}?" if close else f"known: {recipe_names()}")
        )
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: expected lines of `flag: value`")
    return recipe


def build_parser() -> argparse.ArgumentParser:
    """Our own flags; what is left over is for `TrainingArguments`."""
    parser = Parser(
        prog="finetune.py",
        usage="%(prog)s [--config NAME_OR_FILE] [--flag VALUE ...]",
        description="Fine-tune a semantic segmentation model. Without flags it runs the "
        "quickstart: the built-in toyscapes and a small SegFormer, into runs/quickstart.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--config",
        metavar="NAME_OR_FILE",
        help=f"a recipe: {', '.join(recipe_names())}, or a YAML file of flags",
    )
    for title, group in GROUPS.items():
        add_flags(parser, title, group)
    return parser


def add_flags(parser: argparse.ArgumentParser, title: str, group: type) -> None:
    """A flag for every field of one of the groups in `arguments.py`."""
    section = parser.add_argument_group(title)
    for item in dataclasses.fields(group):
        options: dict[str, Any] = {"default": None, "help": _help(item)}
        if item.type in (bool, "bool"):
            options |= {"type": _boolean, "nargs": "?", "const": True, "metavar": "BOOL"}
        elif "list" in str(item.type):
            options |= {"nargs": "+", "metavar": "KEY=VALUE"}
        elif "int" in str(item.type):
            options |= {"type": int, "metavar": "N"}
        elif "float" in str(item.type):
            options |= {"type": float, "metavar": "X"}
        section.add_argument(f"--{item.name}", **options)


def parse_data(
    parser: argparse.ArgumentParser, argv: list[str]
) -> tuple[DataArguments, argparse.Namespace]:
    """The data flags of a script and its own, for scripts that read data without training."""
    add_flags(parser, "data", DataArguments)
    values = vars(parser.parse_args(argv))
    names = {item.name for item in dataclasses.fields(DataArguments)}
    said = {key: value for key, value in values.items() if key in names and value is not None}
    rest = {key: value for key, value in values.items() if key not in names}
    return _group(DataArguments, {}, said), argparse.Namespace(**rest)


def _help(item: dataclasses.Field) -> str:
    default = "" if item.default in (None, dataclasses.MISSING) else f" [{item.default}]"
    return (item.metadata["help"] + default).replace("%", "%%")


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}")


def print_help() -> None:
    """Our flags, and a line for each of `TrainingArguments`, without importing torch."""
    parser = build_parser()
    parser.formatter_class = argparse.HelpFormatter
    section = parser.add_argument_group("transformers.TrainingArguments, as they are")
    for name, text in trainer_flags().items():
        section.add_argument(f"--{name}", metavar="VALUE", help=text.replace("%", "%%"))
    parser.print_help()


def trainer_flags() -> dict[str, str]:
    """Name and help of every field of `TrainingArguments`, read from its source."""
    package = importlib.util.find_spec("transformers")
    assert package is not None and package.origin is not None
    source = Path(package.origin).with_name("training_args.py").read_text(encoding="utf-8")
    flags: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.ClassDef) and node.name == "TrainingArguments"):
            continue
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                flags[statement.target.id] = _help_in(statement)
    return {name: text for name, text in flags.items() if not name.startswith("_")}


def _help_in(statement: ast.AnnAssign) -> str:
    for node in ast.walk(statement):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help":
                    return str(getattr(value, "value", "")).split(". ")[0].strip()
    return ""


def parse(argv: list[str]) -> Arguments:
    """The arguments of a run; `--help` prints and exits.

    Raises:
        UserError: an unknown flag or key, or a value that doesn't fit.
    """
    if any(word in ("-h", "--help") for word in argv):
        print_help()
        raise SystemExit(0)
    ours, rest = build_parser().parse_known_args(argv)
    flags = {key: value for key, value in vars(ours).items() if value is not None}
    config = flags.pop("config", None)
    base = config or (
        OWN_DATA_RECIPE if {"dataset_name", "model_name_or_path"} & flags.keys() else DEFAULT_RECIPE
    )
    recipe = read_recipe(base)
    if "mixed_precision" in recipe:  # YAML reads a bare `no` as false
        recipe["mixed_precision"] = {False: "no"}.get(
            recipe["mixed_precision"], recipe["mixed_precision"]
        )
    recipe.pop(SEARCH, None)
    if "mixed_precision" in flags:
        recipe.pop("bf16", None)
        recipe.pop("fp16", None)
    if any(word.startswith("--lr_scheduler_type") for word in rest):
        for key in ("lr_scheduler_kwargs", "lr_gamma", "lr_step_size", "lr_power"):
            recipe.pop(key, None)  # numbers of the recipe's own schedule
    groups = {title: _group(group, recipe, flags) for title, group in GROUPS.items()}
    own = {item.name for group in GROUPS.values() for item in dataclasses.fields(group)}
    _check_names(recipe, own | trainer_flags().keys(), base)
    name = Path(base).stem if base != OWN_DATA_RECIPE else _run_name(groups)
    training, said = _training_arguments(
        {key: value for key, value in recipe.items() if key not in own},
        rest,
        name,
        groups["run"],
        precision_given="mixed_precision" in flags,
    )
    return Arguments(
        **groups,
        training=training,
        recipe={**{k: v for k, v in recipe.items() if k in own}, **flags, **said},
        argv=list(argv),
        name=name,
    )


def _group(group: type, recipe: dict[str, Any], flags: dict[str, Any]) -> Any:
    names = {item.name for item in dataclasses.fields(group)}
    values = {key: value for key, value in {**recipe, **flags}.items() if key in names}
    for key, value in values.items():
        if key in ("image_size", "crop_size", "train_val_test_split") and value is not None:
            values[key] = str(value)
    return group(**values)


def _check_names(recipe: dict[str, Any], known: set[str], where: str) -> None:
    for key in recipe:
        if key not in known:
            raise UserError(f"{where}: {key!r} is no flag; {_suggest(key, known)}")


def _suggest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else "see --help"


def _run_name(groups: dict[str, Any]) -> str:
    data, model = groups["data"], groups["model"]
    label = data.dataset_name or "data"
    if data.dataset_path and label == "folder":
        label = Path(data.dataset_path).resolve().name
    return f"{label}-{Path(str(model.model_name_or_path)).name}"


def _training_arguments(
    recipe: dict[str, Any], argv: list[str], name: str, run: RunArguments, precision_given: bool
) -> "tuple[TrainingArguments, dict[str, Any]]":
    """`TrainingArguments`, and what of it was said by recipe and flags."""
    known = trainer_flags().keys()
    for word in argv:
        flag = word.removeprefix("--").split("=")[0].replace("-", "_")
        if word.startswith("--") and flag not in known and flag.removeprefix("no_") not in known:
            own = {f.name for group in GROUPS.values() for f in dataclasses.fields(group)}
            raise UserError(f"{word} is no flag; {_suggest(flag, set(known) | own | {'config'})}")

    from transformers import HfArgumentParser

    from hfseg.training.trainer_arguments import SegmentationTrainingArguments, schedule_options

    class TrainerParser(HfArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UserError(f"{message}; see --help")

    parser = TrainerParser(SegmentationTrainingArguments, allow_abbrev=False)
    defaults = {**TRAINING_DEFAULTS, "output_dir": f"runs/{name}", **recipe}
    parser.set_defaults(**defaults)
    values = parser.parse_known_args(argv)
    if values[1]:
        raise UserError(f"{values[1][0]!r} was not expected here; see --help")
    resolved = vars(values[0])
    blank = vars(HfArgumentParser(SegmentationTrainingArguments).parse_args([]))
    said = {
        key: value
        for key, value in resolved.items()
        if key in recipe
        or (value != blank[key] and value != TRAINING_DEFAULTS.get(key, blank[key]))
    }
    said |= {key: resolved[key] for key in TRAINING_DEFAULTS if key in resolved}
    said = {key: getattr(value, "value", value) for key, value in said.items()}
    resolved["lr_scheduler_kwargs"] = schedule_options(
        resolved["lr_scheduler_type"],
        resolved["lr_scheduler_kwargs"],
        {flag: getattr(run, flag) for flag in ("lr_gamma", "lr_step_size", "lr_power")},
    )
    mixed_precision = run.mixed_precision
    if not precision_given and (resolved["bf16"] or resolved["fp16"]):
        mixed_precision = "auto"  # these flags override the recipe
    return make_training_arguments(resolved, mixed_precision), said


def make_training_arguments(values: dict[str, Any], mixed_precision: str) -> "TrainingArguments":
    """`TrainingArguments` with what the trainer depends on set, and precision chosen."""
    from hfseg.training.precision import (
        choose_precision,
        detect_hardware,
        launcher_precision,
    )
    from hfseg.training.trainer_arguments import SegmentationTrainingArguments

    values = {**values, **TRAINING_FIXED}
    if values.get("eval_strategy") == "no":
        values["load_best_model_at_end"] = False
    metric = str(values.get("metric_for_best_model", ""))
    if values.get("greater_is_better") is None:
        values["greater_is_better"] = not metric.endswith("loss")
    choice = choose_precision(
        mixed_precision,
        detect_hardware(bool(values.get("use_cpu"))),
        bf16=bool(values.get("bf16")),
        fp16=bool(values.get("fp16")),
        launcher=launcher_precision(),
    )
    values |= {"use_cpu": choice.use_cpu, "bf16": choice.bf16, "fp16": choice.fp16}
    values["dataloader_pin_memory"] = values["dataloader_pin_memory"] and not choice.use_cpu
    try:
        return SegmentationTrainingArguments(**values)
    except UserError:
        raise
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(" ".join(str(error).split())) from error
