"""Progress: silent for short work, lines where there is no terminal, aligned lines in training."""

import io
from types import SimpleNamespace

import pytest

from hfseg import progress as module
from hfseg.progress import Progress, track
from hfseg.training.progress import ConcisePrinter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_short_work_shows_nothing(clock, capsys) -> None:
    assert list(track(range(5), "reading train")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_long_work_prints_lines_where_there_is_no_terminal(clock, capsys) -> None:
    with Progress(100, "reading train") as progress:
        for _ in range(100):
            clock[0] += 1.0
            progress.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading train: 2 of 100 images, 98 s left"
    assert len(lines) == 4  # after 2 seconds, then every 30


def test_a_silent_process_stays_silent(clock, capsys) -> None:
    progress = Progress(100, "scoring", shown=False)
    clock[0] = 60.0
    progress.update(50)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar_after_two_seconds(monkeypatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(module.sys, "stderr", terminal)
    seen = {}
    monkeypatch.setattr(module, "tqdm", lambda **options: seen.update(options) or SimpleNamespace())
    Progress(7, "segmenting")
    assert seen["total"] == 7 and seen["delay"] == 2.0


def test_training_prints_one_aligned_line_per_log_step(capsys) -> None:
    printer = ConcisePrinter()
    args = SimpleNamespace(train_batch_size=4, gradient_accumulation_steps=2, world_size=1)
    state = SimpleNamespace(global_step=0, max_steps=200, is_local_process_zero=True)
    state.log_history = []
    printer.on_train_begin(args, state, None)
    for step, loss in ((10, 2.5), (110, 0.125)):
        state.global_step = step
        printer.on_log(args, state, None, logs={"loss": loss, "learning_rate": 1e-3, "epoch": 1})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("step     10/200  epoch   1.00  loss   2.5000  lr 1.00e-03")
    assert first.index("loss") == second.index("loss") and "images/s" in second


def test_an_evaluation_says_how_it_changed(capsys) -> None:
    printer = ConcisePrinter()
    state = SimpleNamespace(global_step=10, max_steps=20, is_local_process_zero=True)
    state.log_history = []
    printer.on_train_begin(None, state, None)
    for score in (0.5, 0.625):
        logs = {"eval_mean_iou": score, "eval_overall_accuracy": 0.75, "eval_loss": 1.0}
        printer.on_log(None, state, None, logs=logs)
    printer.on_train_end(None, state, None)
    printer.on_log(None, state, None, logs=logs)  # followed by the table
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("evaluation at step 10: mean IoU 0.5000, overall accuracy 0.7500")
    assert "0.6250 (+0.1250 from the best so far)" in second
    resumed = ConcisePrinter()
    state.log_history = [{"loss": 1.0}, {"eval_mean_iou": 0.75}, {"eval_mean_iou": 0.5}]
    resumed.on_train_begin(None, state, None)
    resumed.on_log(None, state, None, logs=logs)
    assert "0.6250 (-0.1250 from the best so far)" in capsys.readouterr().out


def test_a_long_evaluation_counts_its_batches(clock, capsys) -> None:
    printer, state = ConcisePrinter(), SimpleNamespace(is_local_process_zero=True)
    for _ in range(4):
        clock[0] += 1.5
        printer.on_prediction_step(None, state, None, eval_dataloader=[None] * 4)
    assert capsys.readouterr().err == "evaluating: 3 of 4 batches, 1 s left\n"
