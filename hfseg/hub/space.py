"""Pushes the demo to the Hub: a Gradio Space that runs a model of the Hub."""

import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from huggingface_hub import model_info
from packaging.requirements import Requirement

import hfseg
from hfseg.demo_files import demo_folder
from hfseg.errors import UserError
from hfseg.hub.commit import commit_files, prepare_repository
from hfseg.hub_errors import explain_hub_error

_README = """---
title: {title}
emoji: 🖼️
colorFrom: indigo
colorTo: green
sdk: gradio
sdk_version: {gradio}
python_version: "3.12"
app_file: app.py
pinned: false
license: apache-2.0
models:
- {model}
short_description: Semantic segmentation of your own images
---

# {title}

Segments your own images with [{model}](https://huggingface.co/{model}). The code is a copy of hfseg
from when this Space was pushed: the page in `demo/`, the package in `hfseg/`.
"""

_APP = '''"""Start the demo of hfseg with the model of this Space."""

from demo.app import main

main(["--models", "{model}", "--host", "0.0.0.0"])
'''

_SOURCES = (".py", ".md", ".yaml", ".css", ".js", ".html", ".png", ".jpg")
_REMOTE = ("demo/*", "hfseg/*", "app.py", "requirements.txt")


def push_space(
    repo_id: str,
    model: str,
    *,
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Push the demo in one commit, and return the URL of the commit.

    Args:
        model: Hub id of the model it runs.

    Raises:
        UserError: the model does not exist, or the repository can't be created or written to.
    """
    _check_model(model, token)
    repo_id = prepare_repository(
        repo_id, repo_type="space", private=private, token=token, space_sdk="gradio"
    )
    return commit_files(
        repo_id,
        space_files(repo_id, model),
        message="The demo of hfseg",
        repo_type="space",
        delete=_REMOTE,
        token=token,
    )


def space_files(repo_id: str, model: str) -> dict[str, Path | bytes]:
    """Path in the repository -> content. hfseg is included, so that page and package match."""
    try:
        gradio = version("gradio")
    except PackageNotFoundError:
        raise UserError("gradio is not installed: pip install 'hfseg[demo]'") from None
    title = repo_id.split("/")[-1].replace("-", " ")
    files: dict[str, Path | bytes] = {}
    package = Path(hfseg.__file__).parent
    for name, folder in (("hfseg", package), ("demo", demo_folder())):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if "__pycache__" in inside.parts or (name == "hfseg" and inside.parts[0] == "demo"):
                continue
            if path.is_file() and path.suffix in _SOURCES:
                files[f"{name}/{inside.as_posix()}"] = path
    files["README.md"] = _README.format(title=title, gradio=gradio, model=model).encode()
    files["app.py"] = _APP.format(model=model).encode()
    files["requirements.txt"] = ("\n".join(_requirements()) + "\n").encode()
    return files


def _requirements() -> list[str]:
    """The dependencies of hfseg and its demo: those of this clone, or of the installed package."""
    project = Path(hfseg.__file__).parent.parent / "pyproject.toml"
    if project.is_file():  # the metadata of a clone is as old as its installation
        declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        return [*declared["dependencies"], *declared["optional-dependencies"]["demo"]]
    found = []
    for text in requires("hfseg") or []:
        requirement = Requirement(text)
        marker, requirement.marker = requirement.marker, None
        if marker is None or marker.evaluate({"extra": "demo"}):
            found.append(str(requirement))
    return found


def _check_model(model: str, token: str | None) -> None:
    if Path(model).is_dir():
        raise UserError(
            f"--model {model} is a local folder, which a Space can't read: push it with "
            "hfseg push model, and give its Hub id"
        )
    try:
        model_info(model, token=token)
    except Exception as error:  # from the Hub's client or its HTTP library
        reason = explain_hub_error(error, model)
        if reason is None:
            raise
        raise UserError(f"can't load the model {model}: {reason}") from error
