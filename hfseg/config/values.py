"""Option values that need parsing. Each is parsed once."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import yaml

from hfseg.data.splits import parse_fractions
from hfseg.errors import UNREADABLE, UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OptionValues: TypeAlias = dict[str, Any]
"""Option -> value, from a command line, a recipe or a Python call."""
GivenOptions: TypeAlias = Mapping[str, Any]
"""The same, not to be changed."""


class ImageSize(tuple[int, int]):
    """(height, width) in pixels, from `"512x1024"`, `513` (a square) or a pair.

    Raises:
        UserError: anything else.
    """

    def __new__(cls, value: str | int | Sequence[int]) -> "ImageSize":
        try:
            text = str(value).lower().split("x") if isinstance(value, str | int) else value
            sides = [int(side) for side in text]
        except (TypeError, ValueError):
            sides = []
        if len(sides) not in (1, 2) or min(sides) < 1:
            raise UserError("give HxW such as 512x1024, or one number for a square")
        return super().__new__(cls, (sides[0], sides[-1]))

    def __getnewargs__(self) -> tuple[tuple[int, int]]:
        return ((self[0], self[1]),)

    def __str__(self) -> str:
        return f"{self[0]}x{self[1]}"


class Fractions(tuple[float, ...]):
    """Fractions of train, validation and optionally test, from `"0.8,0.1,0.1"` or a sequence.

    Raises:
        UserError: not two or three fractions that add up to 1.
    """

    def __new__(cls, value: str | Sequence[float]) -> "Fractions":
        return super().__new__(cls, parse_fractions(value))

    def __getnewargs__(self) -> tuple[tuple[float, ...]]:
        return (tuple(self),)

    def __str__(self) -> str:
        return ",".join(f"{fraction:g}" for fraction in self)


def key_values(flag: str, pairs: Sequence[str] | OptionValues) -> OptionValues:
    """`["output_stride=16"]` -> {"output_stride": 16}; values are YAML scalars."""
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, list | tuple):  # of a recipe, which may hold anything
        raise UserError(f"{flag}: expected KEY=VALUE, not {pairs!r}")
    options = {}
    for pair in pairs:
        key, equals, value = str(pair).partition("=")
        if not equals:
            raise UserError(f"{flag} {pair!r}: expected KEY=VALUE")
        try:
            options[key] = yaml.safe_load(value)
        except UNREADABLE as error:
            raise UserError(f"{flag} {pair!r}: the value is not a YAML scalar") from error
    return options


def plain(value: Any) -> Any:
    """The value as it is written in a recipe."""
    value = getattr(value, "value", value)  # transformers' enums
    if isinstance(value, float) and value.is_integer():
        return int(value)  # `save_steps` is a float, since it may be a fraction
    return str(value) if isinstance(value, ImageSize | Fractions) else value


def check_values(options: "DataclassInstance") -> None:
    """Parse the fields of a dataclass that are `ImageSize` or `Fractions`; check its choices.

    Raises:
        UserError: an invalid value; the message names the flag.
    """
    for name, hint in get_type_hints(type(options)).items():
        if name not in {item.name for item in dataclasses.fields(options)}:
            continue
        value = getattr(options, name)
        if value is None:
            continue
        for kind in get_args(hint) if get_origin(hint) is not Literal else (hint,):
            if get_origin(kind) is Literal and value not in get_args(kind):
                choices = ", ".join(map(str, get_args(kind)))
                raise UserError(f"--{name} {value}: choose from {choices}")
        for kind in (hint, *get_args(hint)):
            if kind in (ImageSize, Fractions) and not isinstance(value, kind):
                try:
                    setattr(options, name, kind(value))
                except UserError as error:
                    raise UserError(f"--{name} {value}: {error}") from None


def at_least(minimum: int, options: "DataclassInstance", *names: str) -> None:
    """Raise a `UserError` for a field that is set and smaller than `minimum`."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < minimum:
            raise UserError(f"--{name} must be at least {minimum}, not {value}")
