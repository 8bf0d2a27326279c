"""Run the fast tests with the lowest and the newest versions that pyproject.toml admits.

    python .ci/versions.py lowest 3.11
    python .ci/versions.py newest 3.12

Builds an environment under build/versions with uv, runs the tests, and writes the row of
docs/versions.md. Commit the row only if the run was complete.
"""

import datetime
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "versions.md"
SHOWN = ("torch", "transformers", "datasets", "accelerate", "numpy", "gradio")


def main(resolution: str, python: str) -> None:
    folder = REPOSITORY / "build" / "versions" / f"{resolution}-{python}"
    folder.mkdir(parents=True, exist_ok=True)
    uv, pins = folder.parent / "uv" / "bin" / "uv", folder / "requirements.txt"
    if not uv.exists():
        run(sys.executable, "-m", "venv", str(uv.parent.parent))
        run(str(uv.with_name("pip")), "install", "--quiet", "uv")
    how = "lowest-direct" if resolution == "lowest" else "highest"
    run(
        str(uv), "pip", "compile", "--quiet", "--python-version", python, "--resolution", how,
        "--extra", "demo", "--extra", "tune", "--extra", "export", "--extra", "dev",
        "pyproject.toml", "--output-file", str(pins),
    )  # fmt: skip
    run(str(uv), "venv", "--quiet", "--clear", "--python", python, str(folder / "env"))
    interpreter = str(folder / "env" / "bin" / "python")
    # `sync`, since `install` keeps newer versions that satisfy the bounds too
    run(str(uv), "pip", "sync", "--quiet", "--python", interpreter, str(pins))
    run(str(uv), "pip", "install", "--quiet", "--python", interpreter, "--no-deps", "-e", ".")
    tests = subprocess.run(
        [interpreter, "-m", "pytest", "-m", "not slow", "-q", "--numprocesses", "logical",
         "--maxprocesses", "4", "--dist", "loadfile"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    print(tests.stdout)
    counts = re.search(r"\d+ (passed|failed).* in [\d.]+s", tests.stdout)
    if counts is None:
        sys.exit("the tests did not run to their end")
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", pins.read_text(encoding="utf-8"), re.MULTILINE))
    versions = " | ".join(pinned[name] for name in SHOWN)
    today = datetime.date.today().isoformat()
    write_row(f"| {resolution} | {python} | {versions} | {counts[0]} | {today} |")
    sys.exit(tests.returncode)


def write_row(row: str) -> None:
    """Replace the row of the same resolution and Python, or add it."""
    key = row.split("|")[1:3]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split("|")[1:3] != key]
    PAGE.write_text("\n".join([*kept, row]) + "\n", encoding="utf-8")


def run(*command: str) -> None:
    subprocess.run(command, cwd=REPOSITORY, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
