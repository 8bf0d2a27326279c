"""The end of a test run names what was not tested, and how to get it tested."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from untested import untested_lines

TESTS = Path(__file__).parent


def test_skips_of_one_subject_make_one_line() -> None:
    reasons = ["Skipped: GPU: find one", "Skipped: browser: install it", "Skipped: GPU: find one"]
    assert untested_lines(reasons) == [
        "GPU (2 skipped): find one",
        "browser (1 skipped): install it",
    ]


@pytest.mark.parametrize("options", [["-p", "no:xdist"], ["--numprocesses", "2"]])
def test_the_run_ends_with_what_was_not_tested(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_sample.py").write_text(
        "import pytest\n"
        "@pytest.mark.skipif(True, reason='browser: install it')\n"
        "def test_one(): pass\n"
        "def test_two(): pytest.skip('real data: name its folder')\n"
        "def test_three(): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    section = done.stdout.partition(" not tested here ")[2].splitlines()
    assert section[1:3] == [
        "browser (1 skipped): install it",
        "real data (1 skipped): name its folder",
    ]
    assert done.returncode == 0 and "SKIPPED" not in done.stdout
