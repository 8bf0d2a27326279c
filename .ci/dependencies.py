"""Write docs/dependencies.md: what hfseg installs, why, under which license, and by whom.

    python .ci/dependencies.py

License and maintainer are what the installed package states; the reason is stated here, and a
dependency without one is an error.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageMetadata, metadata, version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "dependencies.md"

WHY = {
    "torch": "models and training",
    "torchvision": "image operations of the image processors",
    "transformers": "models, `Trainer`, image processors",
    "datasets": "tables of images, the cache, datasets of the Hub",
    "evaluate": "the metric as an `evaluate` module",
    "accelerate": "several processes and GPUs, mixed precision",
    "filelock": "one run at a time in an output folder",
    "huggingface-hub": "downloads and pushes",
    "jinja2": "templates of cards and reports",
    "albumentations": "augmentation of images with their masks",
    "segmentation-models-pytorch": "U-Net, DeepLabV3+ and others with CNN encoders",
    "matplotlib": "figures",
    "numpy": "masks and counts",
    "opencv-python-headless": "minimum filters for the boundary IoU, needed by albumentations",
    "pillow": "reading and writing images",
    "pyyaml": "recipes",
    "pycocotools": "drawing the shapes of COCO JSON",
    "safetensors": "weights that can't contain code",
    "scipy": "distances in masks, assignment of queries, intervals",
    "tqdm": "progress bars",
    "gradio": "the demo page",
    "markdown-it-py": "model cards on the demo page, without HTML",
    "optuna": "hyperparameter search",
    "onnx": "export",
    "onnxruntime": "checks an export against torch",
    "onnxscript": "torch's exporter needs it",
    "mkdocs-material": "this documentation",
    "mkdocstrings": "the Python reference",
    "hatchling": "builds the package",
    "hypothesis": "generated inputs in tests",
    "import-linter": "the layers of the package",
    "ipykernel": "runs the notebooks in tests",
    "mypy": "types",
    "nbclient": "runs the notebooks in tests",
    "playwright": "opens the demo page in a browser in tests",
    "pre-commit": "style before each commit",
    "psutil": "memory, open files and threads of a run in tests",
    "pytest": "tests",
    "pytest-xdist": "tests in several processes",
    "ruff": "style",
    "scikit-learn": "a reference for metrics in tests",
    "tensorboard": "reads back what a run logged in tests",
    "torchmetrics": "a reference for metrics in tests",
    "types-pyyaml": "types",
    "types-tqdm": "types",
}
MAINTAINERS = {
    "pycocotools": "ppwwyyxx on GitHub, after Piotr Dollár and Tsung-Yi Lin",
    "types-pyyaml": "the typeshed project",
    "types-tqdm": "the typeshed project",
}
"""Of packages that state none."""

_OF_LICENSE = "License :: OSI Approved :: "
_LONGEST = 60


def main() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"the package": project["dependencies"], **project["optional-dependencies"]}
    names = {group: sorted({_name(each) for each in needs}) for group, needs in groups.items()}
    unexplained = {each for needs in names.values() for each in needs} - WHY.keys()
    if unexplained:
        sys.exit(f"say in {Path(__file__).name} why it is needed: {', '.join(sorted(unexplained))}")
    PAGE.write_text(page(names), encoding="utf-8")


def page(groups: dict[str, list[str]]) -> str:
    """The page as Markdown."""
    parts = [
        "# Dependencies\n",
        "What hfseg installs directly; `python .ci/dependencies.py` makes this page from what the",
        "packages state. The versions are those of `constraints.txt`, with which the tests run.\n",
        "albumentations 2.0.8 is the last release under its open license, and no longer developed:",
        "only `hfseg/data/transforms.py` calls it.\n",
        "`pip-audit -r constraints.txt` reached no advisories on the machine of the tests (all 214",
        "packages were skipped as not found), so known vulnerabilities have not been checked.\n",
    ]
    for group, names in groups.items():
        extra = "" if group == "the package" else f": `pip install hfseg[{group}]`"
        parts += [f"## {group.capitalize()}{extra}\n", "| package | version | license | "]
        parts[-1] += "maintained by | why |\n|---|---|---|---|---|"
        parts += [_row(name) for name in names]
        parts.append("")
    return "\n".join(parts)


def _row(name: str) -> str:
    found = metadata(name)
    maintainer = MAINTAINERS.get(name) or maintainer_of(found)
    cells = [name, version(name), license_of(found), maintainer, WHY[name]]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def license_of(found: PackageMetadata) -> str:
    """The SPDX expression, the classifier, or the first line of the license."""
    classifiers = [
        each.removeprefix(_OF_LICENSE)
        for each in found.get_all("Classifier") or []
        if each.startswith(_OF_LICENSE)
    ]
    stated = found.get("License-Expression") or "; ".join(classifiers) or found.get("License") or ""
    return _short(stated) or "see its page"


def maintainer_of(found: PackageMetadata) -> str:
    """Maintainer or author, without addresses."""
    keys = ("Maintainer", "Author", "Maintainer-email", "Author-email")
    stated = next((found[key] for key in keys if found.get(key)), "")
    names = re.sub(r"\s*<[^>]*>|\S+@\S+", "", stated).replace('"', "").strip(" ,")
    return _short(names) or "see its page"


def _short(text: str) -> str:
    line = " ".join(text.strip().split("\n")[0].split())
    return line if len(line) <= _LONGEST else line[:_LONGEST].rsplit(" ", 1)[0] + " ..."


def _name(requirement: str) -> str:
    return re.split(r"[\s<>=!~\[;]", requirement)[0].lower().replace("_", "-")


if __name__ == "__main__":
    main()
