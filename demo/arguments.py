"""Checks the arguments of endpoints against their signatures."""

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    types.NoneType: "null",
}


class Refused(Exception):
    """A request that is answered with a 4xx status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Endpoint:
    """The parameters of a function that is called over HTTP.

    Args:
        function: with type hints.
        queued: whether a call has to wait in the queue.
    """

    def __init__(self, function: Callable[..., object], queued: bool = True) -> None:
        self.queued = queued
        hints = typing.get_type_hints(function)
        self.name = function.__name__
        self.parameters = [
            (parameter.name, hints[parameter.name], parameter.default is parameter.empty)
            for parameter in inspect.signature(function).parameters.values()
            if hints.get(parameter.name) not in (gr.Request, gr.Progress)
        ]

    def check(self, data: list[object]) -> None:
        """Raise Refused unless each value has the type of its parameter.

        Parameters with defaults may be left out at the end.
        """
        if len(data) > len(self.parameters):
            raise Refused(422, f"/{self.name} takes at most {len(self.parameters)} values.")
        for (name, hint, _), value in zip(self.parameters, data, strict=False):
            _check_value(name, hint, value)
        for name, _, required in self.parameters[len(data) :]:
            if required:
                raise Refused(422, f"{name} is missing.")


def _check_value(name: str, hint: object, value: object) -> None:
    if hint is gr.FileData:
        check_upload(name, value)
    elif hint == list[gr.FileData]:
        if not isinstance(value, list):
            raise Refused(422, f"{name} must be a list of uploaded files.")
        for index, each in enumerate(value):
            check_upload(f"{name}[{index}]", each)
    else:
        allowed = [typing.get_origin(kind) or kind for kind in typing.get_args(hint) or (hint,)]
        if float in allowed:
            allowed.append(int)
        if type(value) not in allowed:
            wanted = " or ".join(dict.fromkeys(_KINDS[kind] for kind in allowed))
            raise Refused(422, f"{name} must be {wanted}, not {_KINDS[type(value)]}.")


def check_upload(name: str, value: object) -> None:
    """Raise Refused unless the value is a file that was uploaded here."""
    path = value.get("path") if isinstance(value, dict) else None
    if not isinstance(path, str) or not _is_inside(path):
        raise Refused(
            422,
            f"{name} must be an uploaded file, not an address, a path or text: send it to "
            "/gradio_api/upload first, and give the path that comes back as "
            '{"path": ..., "meta": {"_type": "gradio.FileData"}}.',
        )
    if not is_upload(path):
        raise Refused(422, f"{name} is no longer on the server: upload it again.")


def is_upload(path: str) -> bool:
    """Whether this is a file in the temporary folder of the page."""
    try:
        return _is_inside(path) and Path(path).is_file()
    except (OSError, ValueError):  # such as a name with a null character
        return False


def _is_inside(path: str) -> bool:
    try:
        folder = Path(get_upload_folder()).resolve()
        return Path(path).is_absolute() and Path(path).resolve().is_relative_to(folder)
    except (OSError, ValueError):
        return False


def check_files(inputs: object) -> None:
    """Raise Refused if the inputs contain a file that was not uploaded here."""
    waiting = [inputs]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            if {"path", "url"} & value.keys():
                check_upload("The image", value)
