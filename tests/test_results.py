"""`hfseg results`: the runs of a plan, their cards, and the table of all of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import make_folder
from launch import environment
from PIL import Image

from hfseg.cli import run as run_command
from hfseg.errors import UserError
from hfseg.workflows.results import PlannedRun, copy_card, make_results, read_plan
from hfseg.workflows.results_table import write_table

EVALUATION = {
    "model": "weights/voc",
    "dataset": "voc",
    "split": "validation",
    "num_images": 100,
    "num_parameters": 2_530_000,
    "mean_iou": 0.72345,
    "mean_iou_interval_95": [0.66, 0.78],
    "mean_accuracy": 0.83,
    "overall_accuracy": 0.94,
    "seconds": 118.2,
    "hardware": "CPU (x86_64, 2 cores)",
}


def plan_in(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "results.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a list", "expected `NAME: {command"),
        ("a/b: {command: hfseg finetune}", "not a folder name"),
        ("a: {command: hfseg finetune, publish: 1}", "needs `command`, and allows only"),
        ("a: {command: rm -r data}", "must start with hfseg finetune or evaluate or tune"),
        ("a: {command: hfseg finetune --output_dir x}", "leave --output_dir out"),
        ('a: {command: "hfseg finetune \'x"}', "can't be split"),
    ],
)
def test_a_wrong_plan_is_refused_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=r"results\.yaml") as error:
        read_plan(plan_in(tmp_path, text))
    assert words in str(error.value)


def test_the_plan_of_the_repository_can_be_read() -> None:
    plan = read_plan(Path(__file__).parent.parent / "model_cards" / "results.yaml")
    assert len({run.name for run in plan}) == len(plan) > 5


def test_the_numbers_of_the_readme_are_those_of_the_cards() -> None:
    repository = Path(__file__).parent.parent
    linked = r"^\|.*\]\((model_cards/[\w-]+)/README\.md\)(.*)$"
    rows = list(re.finditer(linked, (repository / "README.md").read_text(), re.MULTILINE))
    assert rows
    for match in rows:
        card, shown = repository / match[1], re.findall(r"0\.\d{4}", match[2])
        scores: dict[str, float] = {}
        for file in card.glob("*results.json"):
            scores |= json.loads(file.read_text())
        keys = ("eval_mean_iou", "test_mean_iou", "mean_iou")
        assert shown == [f"{scores[key]:.4f}" for key in keys if key in scores], match[1]


def test_a_finished_run_is_skipped_and_its_card_published(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output, cards = tmp_path / "runs", tmp_path / "cards"
    shutil.copytree(finished_run, output / "small")
    make_results([PlannedRun("small", "hfseg finetune")], cards, output, {})
    assert "small: finished before" in capsys.readouterr().out
    published = {path.relative_to(cards / "small").as_posix() for path in cards.rglob("*.*")}
    assert {"README.md", "recipe.yaml", "run.json", "eval_results.json"} <= published
    assert "report/predictions.png" in published
    assert not any(path.endswith((".safetensors", ".bin")) for path in published)


def test_nothing_that_is_published_names_a_folder_of_the_machine(
    finished_run: Path, tmp_path: Path
) -> None:
    copy_card(finished_run, tmp_path / "card")
    data = str(finished_run.parent / "data")
    assert data in (finished_run / "recipe.yaml").read_text()
    for file in (tmp_path / "card").rglob("*.*"):
        assert data.encode() not in file.read_bytes(), file


def test_figures_of_cards_are_small(finished_run: Path, tmp_path: Path) -> None:
    copy_card(finished_run, tmp_path / "card")
    for path in (tmp_path / "card").rglob("*.png"):
        assert Image.open(path).width <= 900
        assert path.stat().st_size < 300_000


def test_a_run_made_with_another_command_is_not_published(
    finished_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run, tmp_path / "small")
    (tmp_path / "small.log").write_text("$ hfseg finetune --seed 1\n")
    with pytest.raises(UserError, match=r"made with another command \(hfseg finetune --seed 1\)"):
        make_results([PlannedRun("small", "hfseg finetune")], tmp_path / "cards", tmp_path, {})
    assert not (tmp_path / "cards").exists()


def test_the_table_has_the_numbers_of_the_json_files(finished_run: Path, tmp_path: Path) -> None:
    plan = [PlannedRun("small", "hfseg finetune", published="0.765", difference="full data.")]
    copy_card(finished_run, tmp_path / "small")
    assert write_table(plan, tmp_path) == 1
    scores = json.loads((finished_run / "eval_results.json").read_text())
    test = json.loads((finished_run / "test_results.json").read_text())
    table = (tmp_path / "README.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| [small]"))
    assert f"| {scores['eval_mean_iou']:.4f}" in row
    assert f"| {test['test_mean_iou']:.4f}" in row
    accuracies = (scores["eval_mean_accuracy"], scores["eval_overall_accuracy"])
    assert "| {:.4f} / {:.4f} |".format(*accuracies) in row
    for words in (
        "data, 10 / 2 / 1 images",
        "| random |",
        "7 steps, seed 42, float32",
        "0.765. full data",
    ):
        assert words in row


def test_the_table_shows_an_evaluation_with_its_interval(tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "results.json").write_text(json.dumps(EVALUATION))
    write_table([PlannedRun("voc", "hfseg evaluate")], tmp_path)
    table = (tmp_path / "README.md").read_text()
    assert "| voc, 100 images of validation | weights/voc | trained elsewhere |" in table
    assert "| 0.7235 (0.6600 to 0.7800) |  | 0.8300 / 0.9400 | 2.53 M | 1 min 58 s" in table


def test_an_evaluation_of_a_run_of_the_plan_is_not_called_trained_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "first-tta").mkdir()
    (tmp_path / "first-tta" / "results.json").write_text(
        json.dumps({**EVALUATION, "model": "first", "tta": "flip"})
    )
    plan = [PlannedRun("first", "hfseg finetune"), PlannedRun("first-tta", "hfseg evaluate")]
    assert write_table(plan, tmp_path) == 1
    row = "| first | the run of that name | evaluation only, TTA flip |"
    assert row in (tmp_path / "README.md").read_text()


def test_a_search_has_no_row_but_its_best_recipe_and_command_are_published(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "search"
    run.mkdir(parents=True)
    (run / "best-recipe.yaml").write_text(
        "# Trial 3\nlearning_rate: 0.1\ndataset_path: /data/mine\n"
    )
    Image.new("RGB", (20, 20)).save(run / "history.png")
    copy_card(run, tmp_path / "search")
    assert sorted(path.name for path in (tmp_path / "search").iterdir()) == [
        "best-recipe.yaml", "history.png"
    ]  # fmt: skip
    published = (tmp_path / "search" / "best-recipe.yaml").read_text()
    assert "learning_rate: 0.1" in published and "/data" not in published
    assert write_table([PlannedRun("search", "hfseg tune --trials 3")], tmp_path) == 0
    assert "# search\nhfseg tune --trials 3" in (tmp_path / "README.md").read_text()


def test_a_table_is_replaced_and_the_text_around_it_stays(tmp_path: Path) -> None:
    plan = [PlannedRun("voc", "hfseg evaluate")]
    (tmp_path / "README.md").write_text("# Cards\n\nBefore.\n")
    write_table(plan, tmp_path)
    (tmp_path / "README.md").open("a").write("\nAfter.\n")
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "results.json").write_text(json.dumps(EVALUATION))
    write_table(plan, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Cards\n\nBefore.\n") and text.endswith("\nAfter.\n")
    assert "No run is finished yet" not in text and text.count("| run |") == 1


def test_a_folder_in_the_place_of_a_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="leave --data out"):
        make_results([], tmp_path / "cards", tmp_path, {"data": str(tmp_path)})
    assert (tmp_path / "data").is_dir()


def test_table_only_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    plan = plan_in(tmp_path / "cards", "voc: {command: hfseg evaluate}\n")
    monkeypatch.chdir(tmp_path)
    run_command("results", ["--plan", str(plan), "--table_only"])
    assert "0 of 1 runs" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


TINY_RUN = """\
first:
  command: hfseg finetune --dataset_name folder --dataset_path data/small
    --model_name_or_path segformer-tiny --from_scratch --crop_size 32 --max_steps 400
    --per_device_train_batch_size 2 --dataloader_num_workers 0 --logging_steps 1
    --eval_strategy steps --eval_steps 5 --mixed_precision no
broken:
  command: hfseg finetune --dataset_name folder --dataset_path data/nothing
second:
  command: hfseg evaluate --model_name_or_path first --dataset_name folder
    --dataset_path data/small
"""


@pytest.mark.slow
def test_an_interrupted_plan_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGTERM in the first run; the second call resumes it, and a failure stops nothing."""
    make_folder(tmp_path / "data" / "small", count=13, size=(32, 32))
    text = TINY_RUN
    plan, output = plan_in(tmp_path / "cards", text), tmp_path / "runs"
    words = ["results", "--plan", str(plan), "--output_dir", str(output)]
    command = [sys.executable, "-m", "hfseg", *words, "--data", str(tmp_path / "data")]
    process = subprocess.Popen(
        command, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 300
    while not list((output / "first").glob("checkpoint-*/trainer_state.json")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 143, printed
    assert "the same command goes on from here" in printed
    assert not (output / "first" / "eval_results.json").exists()

    done = subprocess.run(
        command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "1 of 3 runs failed: broken" in done.stderr
    log = (output / "first.log").read_text()
    assert log.count("$ hfseg finetune") == 2 and "saved as first/checkpoint-" in log
    run = json.loads((tmp_path / "cards" / "first" / "run.json").read_text())
    assert run["num_steps"] == 400
    table = (tmp_path / "cards" / "README.md").read_text()
    assert "| [first](first/README.md)" in table
    assert "| [second](second/README.md)" in table and "[broken]" not in table
