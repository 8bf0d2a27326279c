"""Every command and every block of Python in the documentation, run on small data."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs_blocks import PAGES, REPOSITORY, commands, program
from docs_folder import PRELUDE, make_docs_folder, smaller
from launch import environment

pytestmark = pytest.mark.slow
NOT_HERE = ("make", "pip")  # .ci/run calls the first; the second would change this environment


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_docs_folder(tmp_path_factory.mktemp("documentation") / "work")


@pytest.fixture
def work(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "work")


def run(words: list[str], work: Path) -> None:
    done = subprocess.run(
        words, cwd=work, env=environment(), capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise AssertionError(f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_page_works(page: Path, work: Path) -> None:
    for command in commands(page):
        name, *words = command.words
        if not command.is_run or name in NOT_HERE:
            continue
        if name == "python":
            run([sys.executable, str(REPOSITORY / words[0]), *words[1:]], work)
        else:
            run([sys.executable, "-m", "hfseg", *smaller(command.words)[1:]], work)


@pytest.mark.parametrize("page", [p for p in PAGES if program(p)], ids=lambda page: page.name)
def test_the_python_of_the_page_works(page: Path, work: Path) -> None:
    (work / "page.py").write_text(PRELUDE + program(page), encoding="utf-8")
    run([sys.executable, "page.py"], work)
