"""Starting the demo, and what the page is made of."""

import re
import subprocess
import sys

import pytest
from demo_server import DEMO
from PIL import Image


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


def test_a_size_that_the_model_cannot_take_is_one_sentence(models, monkeypatch):
    from hfseg.errors import UserError

    def too_small(*args, **kwargs):
        raise RuntimeError("Kernel size can't be greater than actual input size")

    monkeypatch.setattr(models.segmenters["first"].model, "forward", too_small)
    with pytest.raises(UserError, match="The model can't segment 3 × 2 pixels"):
        models.segment("first", "small.png", Image.new("RGB", (3, 2)))


def test_the_tabs_of_the_page_know_nothing_of_each_other():
    """Only a part of a tab, such as `everything.js`, is imported from beside it."""
    tabs = {path.stem for path in (DEMO / "tabs").glob("[a-z]*.py")}
    for path in (DEMO / "page").rglob("*.js"):
        imported = set(re.findall(r'from "[./]*/(?:tabs/)?(\w+)\.js"', path.read_text()))
        assert not imported & tabs, path.name
    for path in DEMO.rglob("*.py"):
        imported = set(re.findall(r"from \.(?:tabs\.)?(\w+) import", path.read_text()))
        if path.parent.name == "tabs" and path.stem != "__init__":
            assert not imported, path.name
        elif path.stem != "__init__":
            assert not re.search(r"from \.tabs\.", path.read_text()), path.name


def test_a_tab_is_a_module_with_a_script_of_the_same_name():
    from demo.tabs import TABS

    scripts = {path.stem for path in (DEMO / "page" / "tabs").glob("*.js")} - {"everything"}
    assert {tab.name for tab in TABS} == scripts


def test_the_page_names_no_other_host():
    for path in (DEMO / "page").rglob("*.*"):
        assert "http://" not in path.read_text() and "https://" not in path.read_text(), path


def test_help_needs_no_heavy_import_and_a_missing_model_is_one_sentence(tmp_path):
    script = str(DEMO / "app.py")
    heavy = "import sys, runpy; sys.argv = ['app.py', '--help']\n"
    heavy += f"try: runpy.run_path({script!r}, run_name='__main__')\n"
    heavy += "finally: sys.exit(bool({'torch', 'gradio', 'transformers'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True)
    assert shown.returncode == 0 and "--models" in shown.stdout and "--sam" in shown.stdout

    run = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("error: there is no model in runs/quickstart yet")
    assert run.stderr.count("\n") == 1
