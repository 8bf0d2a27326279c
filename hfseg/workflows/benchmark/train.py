"""`hfseg benchmark train`: training steps, from the files to the updated weights."""

import copy
import itertools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from hfseg.config.resolve import resolve
from hfseg.workflows.assemble import load_data, make_loss, make_model, make_trainer
from hfseg.workflows.benchmark.comparison import Comparison, Contender, compare
from hfseg.workflows.benchmark.example import example_trainer

EXAMPLE, IN_MEMORY, OURS = "transformers' example", "batches in memory", "hfseg finetune"
_NOT_COUNTED = 2
"""Steps at the start of a run: workers start, memory is allocated."""


class StepTimes(TrainerCallback):
    """When each step ended, in seconds of `time.perf_counter`."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        synchronize(args.device)
        self.ends.append(time.perf_counter())


class TrainingJob:
    """One model, dataset and set of options, for trainers that start from the same weights.

    A trainer is made for each run: making its `TrainingArguments` sets the precision of the
    process, which contenders don't share.

    Args:
        options: flags of `hfseg finetune`. No trainer evaluates, saves or logs.
        folder: for whatever trainers write.
        max_steps: of every training; those of the options if None.
    """

    def __init__(
        self, options: Mapping[str, Any], folder: Path, max_steps: int | None = None
    ) -> None:
        self.folder = folder
        self.options = {
            **options, "output_dir": str(folder / "run"), "eval_strategy": "no",
            "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True,
            "dataloader_drop_last": True,
        }  # fmt: skip
        if max_steps is not None:
            self.options["max_steps"] = max_steps
        arguments = resolve(self.options)
        self.training, self.wanted = arguments.training, arguments.data
        self.data, self.labels = load_data(arguments)
        self.given = make_model(arguments, self.labels)

    def ours(self) -> Any:
        """A `SegmentationTrainer`, as `hfseg finetune` makes it."""
        arguments = resolve(self.options)
        model, processor = make_model(arguments, self.labels, copy.deepcopy(self.given))
        loss = make_loss(arguments, self.data["train"], self.labels)
        return make_trainer(arguments, model, processor, self.data, self.labels, loss)

    def example(self) -> Any:
        """A plain `Trainer` with the same batches, steps and learning rate."""
        model, processor = copy.deepcopy(self.given)
        training, wanted = self.training, self.wanted
        rows = self.data["train"]
        crop = wanted.crop_size or wanted.image_size or rows[0]["image"].size[::-1]
        return example_trainer(
            model.to(memory_format=torch.contiguous_format), processor, rows,
            crop=crop, size=wanted.image_size, output_dir=str(self.folder / "example"),
            use_cpu=training.use_cpu, max_steps=training.max_steps,
            num_train_epochs=training.num_train_epochs,
            per_device_train_batch_size=training.per_device_train_batch_size,
            gradient_accumulation_steps=training.gradient_accumulation_steps,
            dataloader_num_workers=training.dataloader_num_workers, dataloader_drop_last=True,
            learning_rate=training.learning_rate, weight_decay=training.weight_decay,
        )  # fmt: skip

    @property
    def precision(self) -> str:
        return "bf16" if self.training.bf16 else "fp16" if self.training.fp16 else "fp32"


def benchmark_train(options: Mapping[str, Any], *, steps: int, repeats: int) -> list[Comparison]:
    """Steps of `hfseg finetune`, of the example's `Trainer`, and on batches already in memory.

    Args:
        options: flags of `hfseg finetune`.
        steps: that count, in each run.

    Returns:
        The same measurement against each of the other two.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(options, Path(folder), _NOT_COUNTED + steps)
        contenders = [
            Contender(EXAMPLE, lambda: _train(job.example())),
            Contender(IN_MEMORY, lambda: seconds_in_memory(job.ours())),
            Contender(OURS, lambda: _train(job.ours())),
        ]
        batch = job.training.per_device_train_batch_size * job.training.gradient_accumulation_steps
        name = job.options.get("model_name_or_path") or type(job.given[0]).__name__
        title = f"training {name}, batches of {batch}, hfseg in {job.precision}"
        found = compare(
            title, contenders, unit="image", amount=steps * batch, repeats=repeats, warm_up=False
        )
    return [found, found.against(IN_MEMORY)]


def _train(trainer: Any) -> float:
    """Seconds of the steps that count."""
    times = StepTimes()
    trainer.add_callback(times)
    trainer.train()
    return times.ends[-1] - times.ends[_NOT_COUNTED - 1]


def seconds_in_memory(trainer: Any) -> float:
    """The limit of the hardware: model, loss, precision and optimizer of `trainer`, whose batches
    lie on the device beforehand."""
    trainer.create_optimizer()
    model, optimizer = trainer.accelerator.prepare(trainer.model.train(), trainer.optimizer)
    loader = trainer.get_train_dataloader()
    batches = [trainer._prepare_inputs(batch) for batch in itertools.islice(loader, 4)]
    source = itertools.cycle(batches)
    args, ends = trainer.args, []
    for _ in range(args.max_steps):
        for _ in range(args.gradient_accumulation_steps):
            trainer.accelerator.backward(trainer.compute_loss(model, next(source)))
        optimizer.step()
        optimizer.zero_grad()
        synchronize(args.device)
        ends.append(time.perf_counter())
    return ends[-1] - ends[_NOT_COUNTED - 1]


def synchronize(device: torch.device) -> None:
    """Wait until an accelerator has done what it was asked for."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
