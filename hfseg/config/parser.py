"""The parser of every command: a command line -> the options given in it."""

import argparse
import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from transformers import HfArgumentParser, TrainingArguments

from hfseg.config.values import Fractions, GivenOptions, ImageSize, OptionValues
from hfseg.errors import UserError

_COMMON = (
    "output_dir", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "per_device_eval_batch_size", "gradient_accumulation_steps", "learning_rate", "weight_decay",
    "warmup_steps", "optim_args", "label_smoothing_factor", "seed", "eval_steps", "save_steps",
    "dataloader_num_workers", "resume_from_checkpoint", "push_to_hub", "hub_model_id",
    "hub_private_repo",
)  # fmt: skip
"""Options of `TrainingArguments` that the short `--help` shows in addition to ours."""

_OUR_WORDS = {
    "output_dir": "folder of the run (in runs/, named after the recipe, or data and model)",
    "warmup_steps": "steps until the full learning rate; below 1, a fraction of all steps",
    "max_steps": "optimizer steps; overrides --num_train_epochs",
    "optim_args": "options of the optimizer, such as momentum=0.9",
    "eval_steps": "steps between evaluations, and checkpoints without --save_steps; implies "
    "--eval_strategy steps",
    "save_steps": "steps between checkpoints, and evaluations without --eval_steps; implies "
    "--save_strategy steps",
    "resume_from_checkpoint": "true: continue from the last checkpoint in --output_dir, or start; "
    "or the folder of a checkpoint",
    "push_to_hub": "push the finished run to the Hub",
    "hub_model_id": "repository to push to, such as me/my-model",
    "hub_private_repo": "false: make a new repository public (default: private)",
}
"""Their help, where that of transformers is misleading or vague."""


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Unwrapped descriptions, and the default of every flag that has one."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=100)


class OptionParser(HfArgumentParser):
    """`HfArgumentParser` that raises `UserError` and returns only the options that were given.

    Args:
        groups: dataclasses of options; each field is a flag.
    """

    def __init__(self, groups: type | Iterable[type] = (), **options: object) -> None:
        super().__init__(
            [groups] if isinstance(groups, type) else groups,
            **{
                "allow_abbrev": False,
                "add_help": False,
                "usage": "%(prog)s [--flag VALUE ...]",
                "formatter_class": _HelpFormatter,
                **options,
            },
        )
        help_group = self.add_argument_group("help")
        help_group.add_argument("-h", "--help", action="store_true", help="show this message")
        if any(_inherited(group) for group in self.dataclass_types):
            help_group.add_argument(
                "--help-all", action="store_true",
                help="also show every other flag of transformers' TrainingArguments",
            )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"argument (--\w+)\S*:", r"\1:", message)
        missing = re.fullmatch(r"the following arguments are required: ([A-Z_]+)", message)
        if missing:
            message = (
                f"put {missing[1]} before the flags, because some of them take every word that "
                "follows"
            )
        raise UserError(f"{message[0].lower()}{message[1:]}; see --help")

    def _get_value(self, action: argparse.Action, arg_string: str) -> object:
        if action.type in (ImageSize, Fractions):  # argparse would replace their message
            try:
                return action.type(arg_string)
            except UserError as error:
                raise UserError(f"{action.option_strings[0]} {arg_string}: {error}") from None
        return super()._get_value(action, arg_string)

    @property
    def flags(self) -> set[str]:
        """The names of all options."""
        return {action.dest for action in self._actions if action.option_strings}

    def parse(self, argv: Sequence[str], defaults: GivenOptions | None = None) -> OptionValues:
        """Name -> value of the options in `argv`; `--help` prints and exits.

        Args:
            argv: the command line.
            defaults: values that `--help` shows instead of the fields' defaults.

        Raises:
            UserError: an unknown flag, or an invalid value.
        """
        if any(word in ("-h", "--help", "--help-all") for word in argv):
            self._show_help(everything="--help-all" in argv, defaults=defaults or {})
            raise SystemExit(0)
        missing = object()
        blank = argparse.Namespace(**{action.dest: missing for action in self._actions})
        values, rest = self.parse_known_args(list(argv), blank)
        for word in rest:
            if word.startswith("-"):
                name = word.lstrip("-").split("=")[0].replace("-", "_")
                raise UserError(f"{word} is not a flag; {suggest(name, self.flags, '--')}")
            raise UserError(f"unexpected argument {word!r}; see --help")
        return {key: value for key, value in vars(values).items() if value is not missing}

    def parse_groups(self, argv: Sequence[str]) -> tuple[Any, ...]:
        """The dataclasses, and a namespace of the other flags of the parser."""
        given = self.parse(argv)
        groups = []
        for group in self.dataclass_types:
            names = {item.name for item in dataclasses.fields(group) if item.init}
            groups.append(group(**{key: given.pop(key) for key in names & given.keys()}))
        added = {action.dest: action.default for action in self._actions}
        known = {item.name for group in self.dataclass_types for item in dataclasses.fields(group)}
        rest = {key: given.get(key, default) for key, default in added.items() if key not in known}
        return (*groups, argparse.Namespace(**rest))

    def convert(self, name: str, value: object) -> object:
        """A value from a recipe or a Python call, converted as on the command line.

        Raises:
            UserError: an unknown name, or an invalid value.
        """
        action = next((each for each in self._actions if each.dest == name), None)
        if action is None or name in ("help", "help_all"):
            raise UserError(f"{name!r} is not a flag; {suggest(name, self.flags)}")
        if isinstance(value, str) and action.type is not None and action.nargs != "+":
            try:
                value = self._get_value(action, value)
                self._check_value(action, value)
            except argparse.ArgumentError as error:
                self.error(str(error))
        return value

    def _show_help(self, everything: bool, defaults: GivenOptions) -> None:
        inherited = set().union(*map(_inherited, self.dataclass_types))
        folded = set() if everything else inherited - set(_COMMON)
        for action in self._actions:
            if action.dest in defaults:
                action.default = defaults[action.dest]
            if action.default is None or action.default is False or action.default == []:
                action.default = argparse.SUPPRESS  # no default to show
            action.option_strings = [o for o in action.option_strings if "-" not in o[2:]] or (
                action.option_strings
            )
            if action.metavar is None and action.choices is None:
                action.metavar = _metavar(action)
            if action.dest in folded:
                action.help = argparse.SUPPRESS
            elif action.dest in _OUR_WORDS and action.dest in inherited:
                action.help = _OUR_WORDS[action.dest]
            elif action.help and action.dest in inherited:
                action.help = action.help.split(". ")[0].replace("%", "%%")
            elif action.option_strings and action.option_strings[0] == f"--no_{action.dest}":
                action.help = f"turn --{action.dest} off"
        self.print_help()


def suggest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`did you mean ...?` with `prefix` before each name, or a reference to --help."""
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    names = " or ".join(prefix + each for each in close)
    return f"did you mean {names}?" if close else "see --help"


def _inherited(group: type) -> set[str]:
    """Fields that a dataclass inherits from `TrainingArguments` unchanged."""
    if not issubclass(group, TrainingArguments):
        return set()
    return {item.name for item in dataclasses.fields(group)} - set(vars(group)["__annotations__"])


def _metavar(action: argparse.Action) -> str:
    known: dict[object, str] = {int: "N", float: "X", ImageSize: "HxW", Fractions: "X,X,X"}
    if action.nargs == "?":
        return "BOOL"
    return known.get(action.type) or action.dest.rsplit("_", 1)[-1].upper()
