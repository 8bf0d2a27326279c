"""The runs of a plan, one after another; each is a process with a log of its own."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import yaml
from PIL import Image

from hfseg.cards.model_card import duration
from hfseg.cards.redaction import public_recipe
from hfseg.config.run_recipe import BEST_RECIPE, RECIPE_FILE
from hfseg.errors import UNREADABLE, UserError
from hfseg.evaluation.report import RESULTS
from hfseg.training.checkpoints import list_checkpoints
from hfseg.workflows.resume import is_trained

FINISHED_BY = {
    "finetune": ("README.md", "run.json", "eval_results.json"),
    "evaluate": (RESULTS,),
    "tune": (BEST_RECIPE,),
}
"""Command -> the files that a finished run of it has."""

_PICTURE_WIDTH = 900  # pixels; figures of cards are shrunk to this
_COLORS = 256


@dataclass(frozen=True)
class PlannedRun:
    """A line of the plan.

    Attributes:
        name: of the run and its folders.
        command: the command line, without `--output_dir`.
        published: the nearest published number and its source.
        difference: why that number and the measured one differ.
    """

    name: str
    command: str
    published: str = ""
    difference: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command)

    @property
    def kind(self) -> str:
        """`finetune`, `evaluate` or `tune`."""
        return self.words[1]

    def is_finished(self, output: Path) -> bool:
        return all((output / self.name / file).is_file() for file in FINISHED_BY[self.kind])


def read_plan(file: Path) -> list[PlannedRun]:
    """The runs of a plan, in its order.

    Raises:
        UserError: not a plan, or a run that can't be made.
    """
    try:
        plan = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--plan {file}: {error.strerror}") from None
    except UNREADABLE as error:
        raise UserError(f"{file}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(plan, dict) or not plan:
        raise UserError(f"{file}: expected `NAME: {{command: hfseg finetune ...}}` for each run")
    return [_planned(str(name), entry, file) for name, entry in plan.items()]


def _planned(name: str, entry: object, file: Path) -> PlannedRun:
    known = {item.name for item in fields(PlannedRun)} - {"name"}
    if not re.fullmatch(r"\w[\w.-]*", name):  # not "..", which is another folder
        raise UserError(f"{file}: {name!r} is not a folder name of letters, digits, '.', '-', '_'")
    if not isinstance(entry, dict) or "command" not in entry or entry.keys() - known:
        raise UserError(
            f"{file}: {name} needs `command`, and allows only {', '.join(sorted(known))}"
        )
    run = PlannedRun(name, **{key: " ".join(str(value).split()) for key, value in entry.items()})
    try:
        words = run.words
    except ValueError as error:
        raise UserError(f"{file}: the command of {name} can't be split: {error}") from None
    if len(words) < 2 or words[0] != "hfseg" or words[1] not in FINISHED_BY:
        raise UserError(
            f"{file}: the command of {name} must start with hfseg {' or '.join(FINISHED_BY)}"
        )
    for flag in ("--output_dir", "--resume_from_checkpoint"):
        if any(word.split("=")[0] == flag for word in words):
            raise UserError(f"{file}: leave {flag} out of the command of {name}; it is added")
    return run


def make_results(
    plan: Sequence[PlannedRun],
    cards: Path,
    output: Path,
    folders: Mapping[str, str | None],
    names: Sequence[str] = (),
) -> None:
    """Make the runs that are not finished, and copy the card of every finished one.

    A run that fails does not stop the others.

    Args:
        cards: a card goes to `cards/NAME`.
        output: a run is made in `output/NAME`, with its output in `output/NAME.log`.
        folders: name -> folder; commands reach it as `NAME/...`.
        names: the runs to make; all of them if empty.

    Raises:
        UserError: an unknown name, a missing folder, a run made with another command, or, at the
            end, runs that failed.
    """
    unknown = set(names) - {run.name for run in plan}
    if unknown:
        raise UserError(f"{', '.join(sorted(unknown))}: no such run in the plan")
    chosen = [run for run in plan if not names or run.name in names]
    for run in chosen:
        _check_command(run, output)
    output.mkdir(parents=True, exist_ok=True)
    _link(folders, output)
    failed = []
    for number, run in enumerate(chosen, start=1):
        place = f"[{number}/{len(chosen)}] {run.name}"
        if run.is_finished(output):
            print(f"{place}: finished before", flush=True)
        else:
            print(f"{place}: {run.command}", flush=True)
            started = time.monotonic()
            code = _execute(run, output)
            took = duration(time.monotonic() - started)
            if code or not run.is_finished(output):
                failed.append(run.name)
                print(f"  failed after {took}; see {output / run.name}.log", flush=True)
                continue
            print(f"  done in {took}", flush=True)
        copy_card(output / run.name, cards / run.name)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(chosen)} runs failed: {', '.join(failed)}; their logs are in "
            f"{output}; run the same command again to retry"
        )


def _check_command(run: PlannedRun, output: Path) -> None:
    """A run that was made with another command would be published as what it is not."""
    log = output / f"{run.name}.log"
    if not log.is_file():
        return
    with log.open(encoding="utf-8", errors="replace") as lines:
        before = lines.readline().strip().removeprefix("$ ")
    if before != run.command:
        raise UserError(
            f"{output / run.name} was made with another command ({before}); move it and "
            f"{log.name} away, or give the run another name in the plan"
        )


def _link(folders: Mapping[str, str | None], output: Path) -> None:
    """`output/NAME` -> folder, so that the commands hold on any machine."""
    for name, folder in folders.items():
        if folder is None:
            continue
        if not Path(folder).is_dir():
            raise UserError(f"--{name} {folder}: no such folder")
        link = output / name
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            raise UserError(f"{link} already exists; leave --{name} out, or move it away")
        link.symlink_to(Path(folder).resolve(), target_is_directory=True)


def _execute(run: PlannedRun, output: Path) -> int:
    """Run the command to its end, appending to its log; returns the exit code.

    Raises:
        SystemExit: after SIGTERM or Ctrl-C, when the run has saved what it has.
    """
    words = [*run.words[1:], "--output_dir", run.name]
    folder = output / run.name
    if run.kind == "finetune" and (list_checkpoints(folder) or is_trained(folder)):
        words += ["--resume_from_checkpoint", "true"]
    with (output / f"{run.name}.log").open("a", encoding="utf-8") as log:
        log.write(f"$ {run.command}\n")
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "hfseg", *words],
            cwd=output,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it once, through us
        )
        with _stops(process):
            return process.wait()


@contextmanager
def _stops(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Passes SIGTERM and Ctrl-C on to the run, and ends this process when the run has ended."""
    received: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        received.append(number)
        process.send_signal(number)

    before = {each: signal.signal(each, pass_on) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if received:
        print("stopped; the same command goes on from here", flush=True)
        raise SystemExit(128 + received[0])


def copy_card(run: Path, card: Path) -> None:
    """The parts of a finished run that may be published: its card, scores, recipe and figures.

    Of a search these are its best recipe, which other runs may start from, and its figures.
    """
    if (run / RESULTS).is_file():  # an evaluation
        card.mkdir(parents=True, exist_ok=True)
        figures = sorted(run.glob("*.png"), reverse=True)  # the images first
        text = (run / "results.md").read_text(encoding="utf-8")
        text += "".join(f"\n![{_caption(path)}]({path.name})\n" for path in figures)
        (card / "README.md").write_text(text, encoding="utf-8")
        shutil.copyfile(run / RESULTS, card / RESULTS)
        for path in figures:
            _shrink(path, card / path.name)
    elif (run / "run.json").is_file():
        (card / "report").mkdir(parents=True, exist_ok=True)
        for path in (run / "README.md", run / "run.json", *sorted(run.glob("*_results.json"))):
            shutil.copyfile(path, card / path.name)
        _copy_recipe(run / RECIPE_FILE, card)
        for path in sorted((run / "report").glob("*.png")):
            _shrink(path, card / "report" / path.name)
    elif (run / BEST_RECIPE).is_file():  # a search
        card.mkdir(parents=True, exist_ok=True)
        _copy_recipe(run / BEST_RECIPE, card)
        for path in sorted(run.glob("*.png")):
            _shrink(path, card / path.name)


def _copy_recipe(recipe: Path, card: Path) -> None:
    text = public_recipe(recipe.read_text(encoding="utf-8"))
    (card / recipe.name).write_text(text, encoding="utf-8")


def _shrink(source: Path, target: Path) -> None:
    with Image.open(source) as picture:
        small = picture.convert("RGB")
    if small.width > _PICTURE_WIDTH:
        height = round(small.height * _PICTURE_WIDTH / small.width)
        small = small.resize((_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(_COLORS).save(target, optimize=True)


def _caption(figure: Path) -> str:
    return figure.stem.replace("_", " ")
