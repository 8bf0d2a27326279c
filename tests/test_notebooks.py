"""The notebooks, executed on small data and with very small models."""

import os
from pathlib import Path

import nbformat
import pytest
from docs_blocks import NOTEBOOKS
from docs_folder import make_docs_folder
from launch import BIN, environment
from nbclient import NotebookClient

SMALL = {
    "fine_tune_on_your_own_images": """\
DATA, MODEL, FROM_SCRATCH, STEPS, CROP, DRAWN = "mine", "segformer-tiny", True, 2, 64, 12""",
    "your_model_beside_sam": """\
MODEL, SAM, CLASS_MAP, IMAGES = "runs/quickstart", "facebook/sam2.1-hiera-tiny", "", 1
POINTS_PER_SIDE = 2""",
}
"""What is set after the cell of the parameters."""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_to_its_end(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make_docs_folder(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(path, as_version=4)
    parameters = [
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    ]
    notebook.cells.insert(parameters[0] + 1, nbformat.v4.new_code_cell(SMALL[path.stem]))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(work)}}).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {}) or "<img" in str(output.get("data", ""))
    ]
    assert len(pictures) >= 3
    failed = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and "error: " in output.text
    ]
    assert failed == []
