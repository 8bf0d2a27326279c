"""Removes local paths and tokens from published text."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

import yaml

_ROOT = r"(?:file://)?(?:~?/|~\w+/|(?:\.\./)+|[A-Za-z]:[\\/])"
_QUOTED_PATH = re.compile(rf"(?P<quote>['\"])(?P<path>{_ROOT}[^'\"\n]*)(?P=quote)")
_BARE_PATH = re.compile(
    rf"(?<![\w/.:~<\])])(?P<path>{_ROOT}[A-Za-z_.~][^\s'\"`,;:|()\[\]<>]*)"  # not "x /255"
)
_TOKEN_FLAG = re.compile(r"\s--\w*_token[ =]\S+")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}")


def redacted(text: str) -> str:
    """`text` with local paths reduced to their last component, and without Hub tokens.

    Absolute, home and parent-relative paths are local: they reveal the machine and are useless
    elsewhere. URLs and relative paths such as `scripts/finetune.py` are kept.
    """
    text = _TOKEN.sub("", _TOKEN_FLAG.sub("", text))
    return _BARE_PATH.sub(_last_component, _QUOTED_PATH.sub(_last_component, text))


def redacted_values(value: object) -> Any:
    """Arguments as plain YAML values, redacted; entries named `..._token` are dropped."""
    if isinstance(value, Mapping):
        return {
            str(key): redacted_values(item)
            for key, item in value.items()
            if not str(key).endswith("_token")
        }
    if isinstance(value, (list, tuple, set)):
        return [redacted_values(item) for item in value]
    if isinstance(value, Enum):
        return redacted_values(value.value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    # a value that starts like a path is one path, including its spaces
    return _last_component(text) if re.match(_ROOT, text) else redacted(text)


def public_recipe(text: str) -> str:
    """The `recipe.yaml` of a run, with local paths reduced to their last component.

    A comment names the flags to give in their place.
    """
    recipe = yaml.safe_load(text) or {}
    public = redacted_values(recipe)
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    local = [f"--{key} (was {public[key]})" for key in recipe if public.get(key) != recipe[key]]
    if local:
        head += f"# paths of your own to give on the command line: {', '.join(local)}\n"
    return head + yaml.safe_dump(public, allow_unicode=True)


def _last_component(path: re.Match[str] | str) -> str:
    quote = ""
    if isinstance(path, re.Match):
        quote = path.groupdict().get("quote") or ""
        path = path["path"]
    parts = [part for part in re.split(r"[\\/]", path) if part]
    return f"{quote}{parts[-1] if parts else ''}{quote}"
