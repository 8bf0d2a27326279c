"""The result of a training run in Python."""

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from hfseg.hub.commit import prepare_repository
from hfseg.hub.model import push_run
from hfseg.inference import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.table import TRAINING_METRICS

Scores: TypeAlias = dict[str, Any]
"""Metric -> value, or a note on it."""


@dataclass(eq=False)
class Run:
    """A finished run.

    Attributes:
        output_dir: its folder, loadable with `from_pretrained`.
        labels: names and colors of the classes.
        scores: of the validation split: `mean_iou`, `mean_accuracy`, `overall_accuracy`, `loss`,
            `iou_<class>`, ...
        test_scores: of the test split; empty without one.
    """

    output_dir: Path
    labels: LabelSet
    scores: Scores
    test_scores: Scores = field(default_factory=dict)

    @cached_property
    def segmenter(self) -> Segmenter:
        """The trained model, ready to predict: `run.segmenter("photo.jpg")`."""
        return Segmenter.from_pretrained(self.output_dir)

    def push_to_hub(
        self, repo_id: str, *, private: bool = True, revision: str | None = None
    ) -> str:
        """Push the folder in one commit, and return the commit's page.

        Raises:
            UserError: no access to the repository, or a file contains a secret.
        """
        return push_run(
            self.output_dir, prepare_repository(repo_id, private=private), revision=revision
        )

    def __repr__(self) -> str:
        return f"Run({str(self.output_dir)!r}, mean_iou={self.scores.get('mean_iou', 0):.4f})"

    def _repr_html_(self) -> str:
        """The scores per class and predictions, in a notebook."""
        columns = {"validation": self.scores}
        if self.test_scores:
            columns["test"] = self.test_scores
        return score_table(self.labels, columns) + picture(
            self.output_dir / "report" / "predictions.png"
        )


def without_prefix(scores: Mapping[str, Any]) -> Scores:
    """`eval_mean_iou` -> `mean_iou`."""
    return {key.removeprefix("eval_").removeprefix("test_"): v for key, v in scores.items()}


def score_table(labels: LabelSet, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """An HTML table of the summary metrics and the IoU per class."""
    keys = {metric.title: metric.name for metric in TRAINING_METRICS}
    keys |= {
        name: f"iou_{key}" for name, key in zip(labels.names, labels.metric_names, strict=True)
    }
    head = "".join(f"<th>{html.escape(title)}</th>" for title in ("", *columns))
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td>"
        + "".join(f"<td>{_number(scores.get(key))}</td>" for scores in columns.values())
        + "</tr>"
        for name, key in keys.items()
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def picture(path: Path) -> str:
    """An `img` element with the embedded file, or nothing without a file."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img style="max-width:100%" src="data:image/png;base64,{data}">'


def _number(value: float | None) -> str:
    return "absent" if value is None or value != value else f"{value:.4f}"
