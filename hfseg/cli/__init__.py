"""The `hfseg` command: one module per command, imported when it is called.

A module has `main(argv)`, which parses, calls the package and prints.
"""

import os
import select
import sys
from collections.abc import Sequence
from importlib import import_module

import hfseg
from hfseg.cli.first_error import is_first_to_fail
from hfseg.errors import UserError

COMMANDS = {
    "finetune": "train a model and measure it (without flags: the quickstart)",
    "evaluate": "score any segmentation checkpoint on any labeled split",
    "predict": "segment images, folders and videos",
    "inspect": "look at a dataset before training on it",
    "find-label-errors": "find wrong labels by out-of-fold predictions",
    "autolabel": "label images with a trained model, to train on",
    "tune": "search hyperparameters with optuna",
    "compare": "compare recipes and finished runs in one table and figure",
    "results": "run a list of runs, and keep their cards and table",
    "compare-sam": "compare a model with the Segment Anything family",
    "export": "export a model to ONNX and check it against torch",
    "benchmark": "measure speed and memory on this machine",
    "models": "list the models with their size, weights and license",
    "demo": "open the demo page",
    "push": "push a model, dataset, metric or Space to the Hub",
}

SHARED = ("evaluate", "predict", "inspect", "autolabel", "compare-sam", "export", "push")
"""Commands whose items several processes share, as `--num_processes` asks for."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return
    if words[0] in ("-V", "--version"):
        print(f"hfseg {hfseg.__version__}")
        return
    run(words[0], words[1:])


def run(command: str, argv: Sequence[str] | None = None) -> None:
    """Run one command.

    A `UserError` becomes one line on stderr and exit code 2; Ctrl-C becomes exit code 130, and
    output that nobody reads any more 141. Any other exception is a bug in hfseg and keeps its
    traceback. Of several processes, which mostly fail alike, the first says what happened.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        if command not in COMMANDS:
            raise UserError(f"hfseg has no command {command!r}; choose from {', '.join(COMMANDS)}")
        words = list(sys.argv[1:] if argv is None else argv)
        if command in SHARED and any(word.startswith("--num_processes") for word in words):
            from hfseg.cli.launch import launch, split_launch_flags

            launch(command, *split_launch_flags(words, ()))
        module = import_module(f"hfseg.cli.{command.replace('-', '_')}")
        module.main(words)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        sys.exit(141)  # what a shell reports of a process that SIGPIPE ended
    except UserError as error:
        if is_first_to_fail():
            print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        if is_first_to_fail():
            print("interrupted", file=sys.stderr, flush=True)
        sys.exit(130)
    except Exception:
        if is_first_to_fail():
            raise
        sys.exit(1)


def _reader_is_gone() -> bool:
    """Whether what reads the output has stopped, such as `head`; further output is dropped then."""
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are always reported
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "Fine-tune, measure and share semantic segmentation models.",
            "",
            "usage: hfseg COMMAND [--flag VALUE ...]",
            "",
            *lines,
            "",
            "hfseg COMMAND --help lists the flags of a command.",
        ]
    )
