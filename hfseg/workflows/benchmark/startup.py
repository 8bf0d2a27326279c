"""`hfseg benchmark startup`: what passes before anything happens, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare


def benchmark_startup(repeats: int) -> Comparison:
    """Imports, help texts, and the first training step of the quickstart, against importing the
    libraries that training needs."""
    with tempfile.TemporaryDirectory() as folder:
        step = f"from {__name__} import first_step; first_step({folder!r})"
        commands = {
            "import torch and Trainer": ["-c", "import torch; from transformers import Trainer"],
            "import hfseg": ["-c", "import hfseg"],
            "hfseg --help": ["-m", "hfseg", "--help"],
            "hfseg finetune --help": ["-m", "hfseg", "finetune", "--help"],
            "hfseg finetune, to its first step": ["-c", step],
        }
        contenders = [Contender.timed(name, _process(words)) for name, words in commands.items()]
        return compare("startup", contenders, unit="start", amount=1, repeats=repeats)


def _process(words: list[str]) -> Callable[[], object]:
    command = [sys.executable, *words]
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    return lambda: subprocess.run(command, check=True, capture_output=True, env=environment)


def first_step(output_dir: str) -> None:
    """Train the quickstart up to the end of its first step, and end this process."""
    from transformers import TrainerCallback

    from hfseg.config.resolve import resolve
    from hfseg.workflows.assemble import load_data, make_loss, make_model, make_trainer

    class Stop(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            os._exit(0)

    arguments = resolve({"output_dir": output_dir})
    data, labels = load_data(arguments)
    loss = make_loss(arguments, data["train"], labels)
    trainer = make_trainer(arguments, *make_model(arguments, labels), data, labels, loss)
    trainer.add_callback(Stop())
    trainer.train()
