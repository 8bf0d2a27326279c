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
    tabs = {"segment", "correct", "evaluate", "many", "about"}
    for path in (DEMO / "page").glob("*.js"):
        imported = set(re.findall(r'from "\./(\w+)\.js"', path.read_text()))
        assert path.stem == "main" or not imported & tabs, path.name


def test_the_page_names_no_other_host():
    page = (DEMO / "page" / "index.html").read_text()
    scripts = "".join(path.read_text() for path in (DEMO / "page").glob("*.js"))
    assert "http://" not in page + scripts and "https://" not in page + scripts


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
