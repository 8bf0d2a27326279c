"""The metric on the Hub, in the form `evaluate` loads: a Space with one module."""

import ast
from pathlib import Path

from hfseg.hub.commit import commit_files, prepare_repository
from hfseg.metrics import MEAN_IOU

_README = """---
title: Mean IoU
emoji: 🧮
colorFrom: indigo
colorTo: green
sdk: gradio
app_file: app.py
pinned: false
license: apache-2.0
tags:
- evaluate
- metric
description: >-
  Mean intersection over union for semantic segmentation, with constant memory.
---

# Mean IoU

```python
import evaluate
import numpy as np

metric = evaluate.load("{repo_id}")
metric.add_batch(
    predictions=[np.array([[0, 1], [1, 1]])], references=[np.array([[0, 0], [1, 255]])]
)
print(metric.compute(num_labels=2)["mean_iou"])
```

{about}
"""

_REQUIREMENTS = "evaluate>=0.4.5\ndatasets>=4.0\nnumpy>=1.26\n"

_APP = '''"""The page of this Space: its README."""

import gradio as gr
from evaluate.utils.gradio import parse_readme

with gr.Blocks(title="Mean IoU") as page:
    gr.Markdown(parse_readme("README.md"))

page.launch()
'''


def push_metric(repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
    """Push `hfseg.MEAN_IOU` in one commit, so that `evaluate.load(repo_id)` works for anyone.

    Returns:
        The URL of the commit.

    Raises:
        UserError: the repository can't be created or written to.
    """
    repo_id = prepare_repository(
        repo_id, repo_type="space", private=private, token=token, space_sdk="gradio"
    )
    files = metric_files(repo_id)
    return commit_files(repo_id, files, message="Mean IoU of hfseg", repo_type="space", token=token)


def metric_files(repo_id: str) -> dict[str, Path | bytes]:
    """Path in the repository -> content; `evaluate` looks for a module named like the Space."""
    module = Path(MEAN_IOU) / "mean_iou.py"
    about = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    about = about.split("\n\n`evaluate.load` copies")[0]
    return {
        f"{repo_id.split('/')[-1]}.py": module,
        "README.md": _README.format(repo_id=repo_id, about=about).encode(),
        "app.py": _APP.encode(),
        "requirements.txt": _REQUIREMENTS.encode(),
    }
