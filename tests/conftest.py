"""Shared by all tests: one cache for datasets, no network, and small things to train on."""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# set before any Hugging Face library is imported; inherited by the processes the tests start
_HOME = Path(tempfile.gettempdir()) / f"hfseg-tests-{os.getuid() if hasattr(os, 'getuid') else 0}"
os.environ.setdefault("HF_HOME", str(_HOME))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["ACCELERATE_USE_CPU"] = "true"
# the tests compare with the CPU's results; those in tests/gpu/ start processes that see the GPUs
os.environ.setdefault("HFSEG_TEST_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests of several files run at once

import numpy as np
import pytest
from hub_server import HubServer
from hypothesis import HealthCheck, settings
from PIL import Image
from untested import untested_lines

if TYPE_CHECKING:
    from demo_server import DemoPage
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).parent.parent

# a law holds on a busy machine too
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test logs doesn't depend on the commands that others ran in the same process."""
    logger = logging.getLogger("hfseg")
    level, disabled = logger.level, logging.root.manager.disable
    yield
    logger.setLevel(level)
    logging.disable(disabled)


@pytest.fixture
def segmentation_folder(tmp_path: Path) -> Path:
    """`images/` and `masks/` of 13 small scenes of rectangles, with 255 in every mask."""
    return make_folder(tmp_path / "data", count=13)


def make_folder(folder: Path, count: int, size: tuple[int, int] = (48, 64)) -> Path:
    """A `folder` dataset: class 1 is bright, class 2 red, 0 the rest; ignored pixels vary."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    height, width = size
    for index in range(count):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), dtype=np.uint8)
        for label, color in ((1, (200, 200, 200)), (2, (220, 30, 30))):
            top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
            image[top : top + 20, left : left + 24] = color
            mask[top : top + 20, left : left + 24] = label
        mask[: 2 + 3 * index] = 255
        Image.fromarray(image).save(folder / "images" / f"{index:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{index:03d}.png")
    (folder / "classes.txt").write_text("ground\nwall\nroof\n")
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run; its data is beside it, in `data`. Copy it to change it."""
    from small_run import make_run

    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def demo_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator["DemoPage"]:
    """The demo, served with very small models and a SAM; started once for all its tests."""
    from demo_server import DemoPage, EagerSam, served, tiny_models

    models, folder = tiny_models(EagerSam()), tmp_path_factory.mktemp("demo") / "page"
    with served(models, folder) as address:
        yield DemoPage(models, folder, address)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium with a camera that shows a test picture."""
    from demo_server import CHROMIUM, CHROMIUM_ARGS
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser", demo_page: "DemoPage") -> Iterator["Page"]:
    """The demo, opened in the browser; fails on console errors and requests to other hosts."""
    from demo_browser import opened

    page = opened(browser, demo_page.address)
    yield page
    page.close()
    assert not page.problems


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A real photo where there are any, else a drawn one."""
    from demo_server import draw_photo

    voc = Path(os.environ.get("HFSEG_REAL_DATA", "none"), "VOCdevkit", "VOC2012", "JPEGImages")
    photos = sorted(voc.glob("*.jpg"))
    if photos:
        Image.open(photos[0]).save(tmp_path / "my street.png")
        return tmp_path / "my street.png"
    return draw_photo(tmp_path / "my street.png", (300, 200))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator["Hub"]:
    """A Hub on loopback; run its clients with `hub.run`, in processes of their own."""
    with HubServer() as server:
        yield Hub(server, tmp_path / "hf-home")


class Hub:
    """A running `HubServer` and a fresh cache for its clients.

    This process is offline (see above), so clients of the server are child processes.
    """

    def __init__(self, server: HubServer, home: Path) -> None:
        self.server = server
        self.home = home

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of a child process that takes the server for the Hub."""
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **self.server.environment(self.home),
        }

    def run(
        self, *command: object, check: bool = True, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess:
        """Run `python COMMAND...`, output captured as text; `-c CODE` works too."""
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            env={**self.env, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}")
        return done


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end what was not tested here; one line per subject instead of one per test."""
    skipped = terminalreporter.stats.get("skipped", [])
    if lines := untested_lines(report.longrepr[2] for report in skipped):
        terminalreporter.section("not tested here")
        for line in lines:
            terminalreporter.line(line)
