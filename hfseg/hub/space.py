"""The demo on the Hub: a Gradio Space that shows a model of the Hub."""

import tomllib
from pathlib import Path

from hfseg.errors import UserError
from hfseg.hub.commit import commit_files, prepare_repository

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

Segments your own images with [{model}](https://huggingface.co/{model}). The code is that of hfseg:
`demo/` is the page, `hfseg/` the package, as they were when this Space was pushed.
"""

_APP = '''"""Starts the demo of hfseg with the model of this Space."""

import runpy
import sys

sys.path.insert(0, "demo")
sys.argv = ["demo/app.py", "--models", "{model}", "--host", "0.0.0.0"]
runpy.run_path("demo/app.py", run_name="__main__")
'''

_SOURCES = (".py", ".md", ".yaml", ".css", ".js", ".html", ".png", ".jpg")
_REMOTE = ("demo/*", "hfseg/*", "app.py", "requirements.txt")


def push_space(
    repo_id: str,
    model: str,
    checkout: str | Path,
    *,
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Push the demo in one commit, and return the commit's page.

    Args:
        model: Hub id of the model it shows.
        checkout: the repository of hfseg, with `demo/` and `pyproject.toml`.

    Raises:
        UserError: no such model or checkout, or a repository that can't be made or written to.
    """
    _check_model(model, token)
    repo_id = prepare_repository(
        repo_id, repo_type="space", private=private, token=token, space_sdk="gradio"
    )
    return commit_files(
        repo_id,
        space_files(repo_id, model, Path(checkout)),
        message="The demo of hfseg",
        repo_type="space",
        delete=_REMOTE,
        token=token,
    )


def space_files(repo_id: str, model: str, checkout: Path) -> dict[str, Path | bytes]:
    """path in the repository -> content. hfseg itself goes with it, so nothing can drift apart."""
    from importlib.metadata import PackageNotFoundError, version

    if not (checkout / "demo" / "app.py").is_file():
        raise UserError(f"{checkout} has no demo/app.py: run this from a checkout of hfseg")
    try:
        gradio = version("gradio")
    except PackageNotFoundError:
        raise UserError("gradio is not installed: pip install 'hfseg[demo]'") from None
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    title = repo_id.split("/")[-1].replace("-", " ")
    files: dict[str, Path | bytes] = {
        path.relative_to(checkout).as_posix(): path
        for folder in ("demo", "hfseg")
        for path in sorted((checkout / folder).rglob("*"))
        if path.is_file() and path.suffix in _SOURCES and "__pycache__" not in path.parts
    }
    files["README.md"] = _README.format(title=title, gradio=gradio, model=model).encode()
    files["app.py"] = _APP.format(model=model).encode()
    files["requirements.txt"] = ("\n".join(requirements) + "\n").encode()
    return files


def _check_model(model: str, token: str | None) -> None:
    from huggingface_hub import model_info

    from hfseg.hub_errors import explain_hub_error

    if Path(model).is_dir():
        raise UserError(
            f"--model {model} is a folder, which a Space can't see: push it first with "
            "scripts/push_model.py, and give its id"
        )
    try:
        model_info(model, token=token)
    except Exception as error:  # of the Hub's client and of the HTTP library under it
        reason = explain_hub_error(error, model)
        if reason is None:
            raise
        raise UserError(f"the model can't be had: {reason}") from error
