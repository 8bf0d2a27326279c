"""The documentation: every command has flags that exist, every block of Python compiles."""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from docs_blocks import (
    NOTEBOOKS,
    PAGES,
    REPOSITORY,
    Command,
    blocks,
    commands,
    commands_in_notebook,
    commands_in_text,
    languages,
    program,
)

import demo.app
import hfseg
from hfseg.cli import COMMANDS
from hfseg.config.parser import OptionParser
from hfseg.config.recipe import recipe_names
from hfseg.config.resolve import resolve
from hfseg.workflows.results import read_plan

PLAN = REPOSITORY / "model_cards" / "results.yaml"


class Parsed(Exception):
    """Raised in place of what a command does after it has read its flags."""


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read their flags and their recipe, and end there."""
    parse, parse_groups = OptionParser.parse, OptionParser.parse_groups

    def parse_and_stop(self: OptionParser, argv: Any, defaults: Any = None) -> None:
        values = parse(self, argv, defaults)
        if "config" in self.flags and "best-recipe" not in str(values.get("config")):
            resolve({key: values[key] for key in values.keys() - {"names", "trials", "folds"}})
        raise Parsed

    def parse_groups_and_stop(self: OptionParser, argv: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(OptionParser, "parse", parse)
            parse_groups(self, argv)
        raise Parsed

    def stop(*_: Any) -> None:
        raise Parsed

    monkeypatch.setattr(OptionParser, "parse", parse_and_stop)
    monkeypatch.setattr(OptionParser, "parse_groups", parse_groups_and_stop)
    monkeypatch.setattr("hfseg.cli.finetune.launch", stop)
    parse_args = demo.app.parse_args
    monkeypatch.setattr("demo.app.parse_args", lambda argv: (parse_args(argv), stop()))


def all_commands() -> list[Command]:
    found = [each for page in PAGES for each in (*commands(page), *commands_in_text(page))]
    found += [each for notebook in NOTEBOOKS for each in commands_in_notebook(notebook)]
    found += [Command(PLAN, tuple(run.words), False) for run in read_plan(PLAN)]
    return list({each.words: each for each in found}.values())


@pytest.mark.parametrize("command", all_commands(), ids=str)
def test_a_command_of_the_documentation_has_flags_that_exist(
    command: Command, read_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *words = command.words
    words = [re.sub(r"\{.*\}", "4", word) for word in words]  # variables of a notebook
    if name == "make":
        makefile = (REPOSITORY / "Makefile").read_text()
        assert all(re.search(rf"^{word}:", makefile, re.MULTILINE) for word in words)
    elif name == "pip":
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        named = re.findall(r"hfseg\[([\w,]+)\]", " ".join(words))
        assert {extra for each in named for extra in each.split(",")} <= {
            *project["optional-dependencies"]
        }
    elif name == "hfseg" and words[0] in COMMANDS:
        if len(words) == 1 and words[0] not in ("finetune", "demo"):
            return  # `hfseg export` in a sentence names the command
        with pytest.raises((Parsed, SystemExit)) as end:
            import_module(f"hfseg.cli.{words[0].replace('-', '_')}").main(words[1:])
        assert end.type is Parsed or end.value.code == 0  # --help ends with 0
    elif name == "python":
        assert (REPOSITORY / words[0]).is_file()
    else:
        assert not command.is_run, f"{command}: not a command that can be checked"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_blocks_of_known_languages_and_python_that_compiles(page: Path) -> None:
    assert languages(page) <= {"", "bash", "python", "yaml"}
    compile(program(page), str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_hides_in_a_block_that_is_not_run(page: Path) -> None:
    for block in blocks(page, ""):
        lines = [line for line in block.splitlines() if re.match(r"(\$ )?hfseg \w+ --", line)]
        assert not lines, f"mark the block as bash: {lines}"


def test_the_python_reference_lists_every_public_name() -> None:
    page = (REPOSITORY / "docs" / "reference.md").read_text()
    assert [name for name in hfseg.__all__ if f"`hfseg.{name}" not in page] == ["__version__"]


MESSAGES = re.findall(
    r'^#+ "(.*)"$', (REPOSITORY / "docs" / "troubleshooting.md").read_text(), re.MULTILINE
)


def test_the_messages_in_troubleshooting_are_those_that_hfseg_prints() -> None:
    source = "".join(path.read_text() for path in (REPOSITORY / "hfseg").rglob("*.py"))
    joined = re.sub(r'"\s+f?"', "", source)  # a sentence over several lines
    assert len(MESSAGES) > 5
    assert [message for message in MESSAGES if message not in joined] == []


def test_every_recipe_is_described() -> None:
    text = (REPOSITORY / "docs" / "recipes.md").read_text()
    assert [name for name in recipe_names() if f"`{name}`" not in text] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text()
    assert [page.name for page in PAGES[1:] if f": {page.name}" not in navigation] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
