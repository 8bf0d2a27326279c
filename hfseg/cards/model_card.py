"""The model card (`README.md`) of a run. It states measured facts only."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hfseg.cards.card_facts import CardInputs
from hfseg.cards.citations import citations
from hfseg.cards.redaction import redacted, redacted_values
from hfseg.disk import write_text
from hfseg.errors import counted
from hfseg.metrics.intervals import interval_text
from hfseg.metrics.table import TITLES
from hfseg.visualization.tables import table_cell

TEMPLATE = Path(__file__).with_name("model_card_template.md")

_EXAMPLES = "report/predictions.png"
FIGURES = {
    _EXAMPLES: "Images, ground truth and predictions",
    "report/per_class_iou.png": "IoU per class",
    "report/confusion_matrix.png": "Confusion matrix",
    "report/curves.png": "Training curves",
}

_IN_SUMMARY = 3  # metrics in the first sentence
_SMALL_SPLIT = 200  # images; for smaller splits the card warns about the numbers
_LONG_TABLE = 25  # classes; longer tables are folded

# The Hub's identifiers (hub-docs, repositories-licenses) of licenses that weights or data may have.
# Any other license is declared as "other" with its name.
_HUB_LICENSE = re.compile(
    r"apache-2\.0|mit|isc|unlicense|unknown|other|openrail|cc|cc0-1\.0|odbl|pddl|mpl-2\.0"
    r"|bsd|bsd-[23]-clause|[al]?gpl-3\.0|l?gpl|gpl-2\.0|lgpl-2\.1"
    r"|cc-by(-nc)?(-sa|-nd)?-4\.0|cc-by(-nc)?(-sa)?-3\.0|cc-by-2\.0|cc-by-nc(-sa)?-2\.0"
)


def write_model_card(output_dir: str | Path, run: CardInputs) -> Path:
    """Write `README.md` into `output_dir` and return its path.

    Figures are linked if they exist (`report/*.png`), so draw them first.
    """
    output_dir = Path(output_dir)
    model_id = run.repo_id or output_dir.resolve().name
    card = ModelCard.from_template(
        _metadata(run),
        template_path=str(TEMPLATE),
        run=run,
        model_id=model_id,
        summary=_summary(run),
        scores=_score_rows(run),
        interval=interval_text(run.metrics, "eval_mean_iou"),
        test_interval=interval_text(run.test_metrics, "test_mean_iou"),
        classes=_class_rows(run),
        has_iou=_measured_per_class(run),
        has_accuracy=any(key.startswith("eval_accuracy_") for key in run.metrics),
        long_table=len(run.label_set) > _LONG_TABLE,
        start=_start(run),
        figures={p: t for p, t in FIGURES.items() if (output_dir / p).is_file()},
        examples=_EXAMPLES,
        recipe=yaml.safe_dump(
            redacted_values(run.recipe), sort_keys=False, allow_unicode=True
        ).strip(),
        command=run.command.strip(),
        duration=duration(run.training_seconds),
        limits=_limits(run),
        citations=citations(
            run.model_type,
            run.architecture,
            Path(run.model_name_or_path).name,
            run.base_model or "",
        ),
        cell=table_cell,
    )
    card.text = redacted(card.text)
    path = output_dir / "README.md"
    write_text(path, str(card))
    return path


def for_repository(card: str, repo_id: str) -> str:
    """A card rewritten for `repo_id`: title, `model-index` and usage name that repository."""
    used = re.search(r'pipeline\("image-segmentation", model="([^"]+)"', card)
    if used is None:
        return card

    def renamed(block: re.Match[str]) -> str:
        return block[0].replace(f'"{used[1]}"', f'"{repo_id}"')

    card = re.sub(r"```python\n.*?```", renamed, card, flags=re.DOTALL)
    card = re.sub(rf"\n`{re.escape(used[1])}` is this folder: [^\n]*\n", "", card)
    name = repo_id.split("/")[-1]
    card = re.sub(r"(?<=^model-index:\n- name: )[^\n]*", name, card, count=1, flags=re.MULTILINE)
    return re.sub(r"^# [^\n]*", f"# {name}", card, count=1, flags=re.MULTILINE)


def _metadata(run: CardInputs) -> ModelCardData:
    known = run.license is None or bool(_HUB_LICENSE.fullmatch(run.license.lower()))
    dataset_id = _hub_id(run.dataset_id)
    results = [
        EvalResult(
            task_type="image-segmentation",
            task_name="Semantic segmentation",
            dataset_type=dataset_id or _slug(run.dataset_name),
            dataset_name=redacted(run.dataset_name),
            dataset_split=run.eval_split,
            metric_type=key,
            metric_name=name,
            metric_value=float(run.metrics[f"eval_{key}"]),
        )
        for key, name in _scores(run).items()
    ]
    tags = ["semantic-segmentation", "vision", "hfseg", run.model_type]
    return ModelCardData(
        license=run.license.lower() if run.license and known else (None if known else "other"),
        license_name=_slug(run.license) if run.license and not known else None,
        license_link=run.license_link if not known or run.license == "other" else None,
        base_model=_hub_id(run.base_model),
        datasets=[dataset_id] if dataset_id else None,
        pipeline_tag="image-segmentation",
        library_name="transformers",
        tags=tags + (["custom_code"] if run.needs_remote_code else []),
        metrics=list(_scores(run)) or None,
        model_name=redacted(run.model_name) if results else None,
        eval_results=results or None,
    )


def _scores(run: CardInputs) -> dict[str, str]:
    """The overall scores that were measured, key -> name."""
    return {key: name for key, name in TITLES.items() if _number(run.metrics.get(f"eval_{key}"))}


def _score_rows(run: CardInputs) -> list[dict[str, str]]:
    """Name, value, and the value on the test split if it was scored."""
    rows = []
    for key, name in _scores(run).items():
        test = run.test_metrics.get(f"test_{key}")
        rows.append(
            {
                "name": name,
                "value": f"{run.metrics[f'eval_{key}']:.4f}",
                "test": f"{test:.4f}" if _number(test) else "",
            }
        )
    return rows


def _measured_per_class(run: CardInputs) -> bool:
    return any(key.startswith("eval_iou_") for key in run.metrics)


def _class_rows(run: CardInputs) -> list[dict[str, Any]]:
    rows = []
    names = zip(run.label_set.names, run.label_set.metric_names, strict=True)
    for index, (name, key) in enumerate(names):
        iou, accuracy = (run.metrics.get(f"eval_{kind}_{key}") for kind in ("iou", "accuracy"))
        rows.append(
            {
                "id": index,
                "name": name,
                "color": "#{:02x}{:02x}{:02x}".format(*run.label_set.palette[index]),
                "iou": f"{iou:.4f}" if _number(iou) else "absent",
                "accuracy": f"{accuracy:.4f}" if _number(accuracy) else "",
                "value": iou if _number(iou) else None,
            }
        )
    return rows


def _summary(run: CardInputs) -> str:
    images = run.split_sizes.get(run.eval_split)
    where = f"the {run.eval_split} split" + (f" ({counted(images, 'image')})" if images else "")
    scores = [
        f"{name} **{run.metrics[f'eval_{key}']:.4f}**"
        for key, name in list(_scores(run).items())[:_IN_SUMMARY]
    ]
    sentence = (
        f"{run.architecture} for semantic segmentation of {counted(len(run.label_set), 'class')}, "
        f"{_start(run)} on {_dataset_link(run)}."
    )
    if not scores:
        return f"{sentence} It was not evaluated."
    if bounds := run.metrics.get("eval_mean_iou_interval_95"):
        scores[0] += " (95 % interval {:.4f} to {:.4f})".format(*bounds)
    return f"{sentence} On {where} it reaches {_listed(scores)}."


def _start(run: CardInputs) -> str:
    base = _hub_id(run.base_model)
    if run.from_scratch:
        return "trained from random weights"
    if base:
        return f"fine-tuned from [{base}](https://huggingface.co/{base})"
    if run.encoder_weights:
        return f"with an encoder that starts from `{Path(run.encoder_weights).name}`, trained"
    return f"fine-tuned from `{Path(run.model_name_or_path).name}`"


def _dataset_link(run: CardInputs) -> str:
    dataset_id = _hub_id(run.dataset_id)
    if dataset_id is None:
        return run.dataset_name
    return f"[{run.dataset_name}](https://huggingface.co/datasets/{dataset_id})"


def _limits(run: CardInputs) -> list[str]:
    """Limits that follow from the facts of this run."""
    limits = [
        f"It assigns one of the {counted(len(run.label_set), 'class')} above to every pixel, even "
        "where none fits."
    ]
    measured = bool(_scores(run))
    images = run.split_sizes.get(run.eval_split)
    if measured:
        limits.append(
            f"The numbers were measured on {run.dataset_name} only. It was not tested on other "
            "data, nor for uses where a wrong pixel can do harm."
        )
    if measured and run.chosen_by:
        better = "; those of the test split are not" if run.test_metrics else ""
        limits.append(
            f"The checkpoint is the one with the best {_in_words(run.chosen_by)} on the "
            f"{run.eval_split} split, so the numbers on that split are optimistic{better}."
        )
    if measured and images is not None and images < _SMALL_SPLIT:
        limits.append(
            f"The {run.eval_split} split is small ({counted(images, 'image')}): "
            "other images may give different numbers."
        )
    train = run.split_sizes.get("train")
    if train is not None and train < _SMALL_SPLIT:
        limits.append(f"It was trained on only {counted(train, 'image')}.")
    rows = _class_rows(run)
    scored = sorted((row for row in rows if row["value"] is not None), key=lambda r: r["value"])
    absent = [row["name"] for row in rows if row["value"] is None]
    if absent and _measured_per_class(run):
        verb = "occurs" if len(absent) == 1 else "occur"
        limits.append(
            f"{_names(absent)} {verb} in neither the labels nor the predictions of the "
            f"{run.eval_split} split: not measured, and excluded from the mean."
        )
    if len(scored) >= 4:
        lowest = [f"{row['name']} ({row['iou']})" for row in scored[:3]]
        limits.append(f"The classes with the lowest IoU are {_listed(lowest)}.")
    return limits


def _in_words(metric: str) -> str:
    return TITLES.get(metric, metric.replace("_", " "))


def _names(names: list[str], most: int = 12) -> str:
    if len(names) <= most:
        return _listed(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more classes"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else list(parts))


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _hub_id(name: str | None) -> str | None:
    """`name` if it has the form of a Hub id (OWNER/NAME or NAME), else None."""
    if name and re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name):
        return name
    return None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", redacted(name).lower()).strip("-.")
