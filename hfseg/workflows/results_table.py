"""The table of a plan's runs, from the JSON files beside their cards."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfseg.cards.model_card import duration
from hfseg.config.run_recipe import BEST_RECIPE
from hfseg.evaluation.report import RESULTS
from hfseg.visualization.tables import table_cell
from hfseg.workflows.results import PlannedRun

_START, _END = "<!-- table of runs, written by `hfseg results` -->", "<!-- end of the table -->"
_HEAD = (
    "run", "data", "model", "starts from", "budget", "validation mIoU", "test mIoU",
    "mean / pixel accuracy", "parameters", "time, hardware", "nearest published number",
)  # fmt: skip


def write_table(plan: Sequence[PlannedRun], cards: Path) -> int:
    """Write the table into `cards/README.md`, in place of the one there.

    Args:
        plan: its order is the order of the rows; searches and runs without a card have none.
        cards: the folder that holds `NAME/`.

    Returns:
        The number of rows.
    """
    rows, commands = [], []
    names = {run.name for run in plan}
    for run in plan:
        found = _row(run, cards / run.name, names)
        if found is not None:
            rows.append(found)
        if found is not None or (cards / run.name / BEST_RECIPE).is_file():
            commands.append(f"# {run.name}\n{run.command}")
    parts = [_START, "", _markdown(rows)] if rows else [_START, "", "No run is finished yet."]
    if commands:
        parts += ["", "The commands:", "", "```bash", *commands, "```"]
    table = "\n".join([*parts, "", _END])
    file = cards / "README.md"
    text = file.read_text(encoding="utf-8") if file.is_file() else "# Results\n"
    pattern = re.compile(re.escape(_START) + ".*?" + re.escape(_END), re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: table, text)
    else:
        text = f"{text.rstrip()}\n\n{table}\n"
    file.write_text(text, encoding="utf-8")
    return len(rows)


def _row(run: PlannedRun, card: Path, names: Collection[str]) -> list[str] | None:
    """The cells of a run; None if it has no card yet.

    Args:
        names: of all runs of the plan.
    """
    if (card / "run.json").is_file():
        cells = _training_cells(card)
    elif (card / RESULTS).is_file():
        results = json.loads((card / RESULTS).read_text(encoding="utf-8"))
        cells = _evaluation_cells(results, results["model"] in names)
    else:
        return None
    published = ". ".join(part.rstrip(".") for part in (run.published, run.difference) if part)
    return [f"[{run.name}]({run.name}/README.md)", *cells, published]


def _training_cells(card: Path) -> list[str]:
    facts, scores, test = (
        json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for path in (card / "run.json", card / "eval_results.json", card / "test_results.json")
    )
    recipe = facts["recipe"]
    sizes = " / ".join(str(size) for size in facts["split_sizes"].values())
    data = f"{facts['dataset_name']}, {sizes} images"
    if size := recipe.get("image_size"):
        where = "images and labels" if recipe.get("eval_at_image_size") else "images"
        data += f"; {where} resized to {size}"
    start = facts["base_model"] or facts["encoder_weights"] or facts["model_name_or_path"]
    precision = facts.get("precision")  # not noted by early runs
    budget = f"{facts['epochs']:.4g} epochs, {facts['num_steps']:,} steps"
    return [
        data,
        facts["architecture"],
        "random" if facts["from_scratch"] else start,
        f"{budget}, seed {facts['seed']}" + (f", {precision}" if precision else ""),
        _score(scores, "eval_mean_iou"),
        _score(test, "test_mean_iou"),
        _accuracies(scores, "eval_"),
        f"{facts['num_parameters'] / 1e6:.2f} M",
        f"{duration(facts['training_seconds'])}, {facts['hardware']}",
    ]


def _evaluation_cells(results: Mapping[str, Any], trained_here: bool) -> list[str]:
    score = _score(results, "mean_iou")
    is_test = results["split"] == "test"
    return [
        f"{results['dataset']}, {results['num_images']} images of {results['split']}",
        results["model"],
        "the run of that name" if trained_here else "trained elsewhere",
        f"evaluation only{f', TTA {tta}' if (tta := results.get('tta')) else ''}",
        "" if is_test else score,
        score if is_test else "",
        _accuracies(results, ""),
        f"{results['num_parameters'] / 1e6:.2f} M",
        f"{duration(results['seconds'])}, {results['hardware']}",
    ]


def _score(scores: Mapping[str, Any], key: str) -> str:
    """`0.6493 (0.6201 to 0.6786)`, without the parenthesis where there is no interval."""
    value, bounds = scores.get(key), scores.get(f"{key}_interval_95")
    if value is None:
        return ""
    return f"{value:.4f}" + (" ({:.4f} to {:.4f})".format(*bounds) if bounds else "")


def _accuracies(scores: Mapping[str, Any], prefix: str) -> str:
    values = (scores.get(f"{prefix}{key}") for key in ("mean_accuracy", "overall_accuracy"))
    return " / ".join("" if value is None else f"{value:.4f}" for value in values)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the link and the notes, which are the plan's own, may contain Markdown."""
    lines = [_HEAD, ["---"] * len(_HEAD)]
    for link, *cells, notes in rows:
        lines.append([link, *map(table_cell, cells), notes.replace("|", r"\|")])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
