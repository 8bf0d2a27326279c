"""`hfseg benchmark scale`: how fast a run would be on more devices, from what is measured here."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfseg.visualization.tables import terminal_table
from hfseg.workflows.benchmark.train import TrainingJob, seconds_in_memory

_BACKWARD = 2 / 3
"""Share of a step in which gradients are exchanged while others are computed: the backward pass
has about twice the operations of the forward pass."""


@dataclass(frozen=True)
class Costs:
    """What a run takes on one device.

    Attributes:
        sample: seconds of one core to decode and augment an image.
        step: seconds of the device for a step on batches that are in memory.
        images: in a step.
        gradient: bytes that the devices exchange in a step.
    """

    sample: float
    step: float
    images: int
    gradient: int


@dataclass(frozen=True)
class Prediction:
    """Of a number of devices.

    Attributes:
        rate: images per second.
        efficiency: of that on one device, per device.
        bottleneck: `device`, `data` or `network`.
    """

    devices: int
    rate: float
    efficiency: float
    bottleneck: str


def predict(costs: Costs, devices: int, cores: float, network: float) -> Prediction:
    """The speed on several devices, each with its own part of a batch.

    A ring all-reduce moves 2 (N - 1) / N times the gradient through each link (Patarasuk and Yuan,
    "Bandwidth optimal all-reduce algorithms", 2009), most of it behind the backward pass (Li et
    al., "PyTorch Distributed", VLDB 2020).

    Args:
        cores: that read images, per device.
        network: bytes per second between two devices.
    """
    alone = min(costs.images / costs.step, cores / costs.sample)
    exchange = 2 * (devices - 1) / devices * costs.gradient / network
    waiting = max(0.0, exchange - _BACKWARD * costs.step)
    computed = costs.images / (costs.step + waiting)
    read = cores / costs.sample
    rate = min(computed, read)
    bottleneck = "data" if read < computed else "network" if waiting > 0 else "device"
    return Prediction(devices, devices * rate, rate / alone, bottleneck)


def benchmark_scale(
    options: Mapping[str, Any],
    *,
    devices: Sequence[int],
    cores: float,
    gigabits: float,
    steps: int,
) -> list[Prediction]:
    """Measure a run's costs here, and predict its speed on each number of devices.

    Args:
        options: flags of `hfseg finetune`.
        cores: that read images, per device.
        gigabits: per second, of the network between two devices.
        steps: that are measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(TrainingJob(options, Path(folder), steps + 2), steps)
    found = [predict(costs, count, cores, gigabits * 1e9 / 8) for count in devices]
    print(
        f"measured: {1000 * costs.sample:.1f} ms per image on one core, "
        f"{1000 * costs.step:.1f} ms per step of {costs.images} images, "
        f"{costs.gradient / 2**20:.1f} MiB of gradients"
    )
    rows = [
        [str(each.devices), f"{each.rate:.1f}", f"{each.efficiency:.0%}", each.bottleneck]
        for each in found
    ]
    print(terminal_table([["devices", "images/s", "efficiency", "limited by"], *rows]))
    print(json.dumps({"costs": vars(costs), "predicted": [vars(each) for each in found]}))
    return found


def measure(job: TrainingJob, steps: int) -> Costs:
    """The costs of a run on this machine's device, and on one of its cores."""
    trainer = job.ours()
    args = trainer.args
    images = args.per_device_train_batch_size * args.gradient_accumulation_steps
    gradient = sum(
        p.numel() * p.element_size() for p in trainer.model.parameters() if p.requires_grad
    )
    samples = trainer.train_dataset
    count = min(len(samples), 64)
    started = time.perf_counter()
    for index in range(count):
        trainer.data_collator([samples[0, index]])
    sample = (time.perf_counter() - started) / count
    return Costs(sample, seconds_in_memory(trainer) / steps, images, gradient)
