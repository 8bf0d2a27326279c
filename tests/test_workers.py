"""How many data workers a run has, and what they hand over."""

import numpy as np
import pytest
import torch
from transformers import SegformerImageProcessor

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.data.samples import Collator, on_device
from hfseg.data.workers import default_workers, usable_cores


@pytest.mark.parametrize(
    ("cores", "processes", "workers"),
    [(1, 1, 0), (2, 1, 1), (4, 1, 3), (16, 1, 4), (8, 4, 1), (4, 4, 0), (2, 4, 0), (64, 8, 4)],
)
def test_workers_take_the_cores_that_training_leaves(cores, processes, workers) -> None:
    assert default_workers(cores, processes) == workers


def test_a_run_has_the_default_number_of_workers_unless_given_one(tmp_path, monkeypatch) -> None:
    assert SegmentationTrainingArguments(str(tmp_path)).dataloader_num_workers == default_workers(
        usable_cores()
    )
    assert (
        SegmentationTrainingArguments(
            str(tmp_path), dataloader_num_workers=7
        ).dataloader_num_workers
        == 7
    )
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert SegmentationTrainingArguments(str(tmp_path)).dataloader_num_workers == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"do_normalize": False}, {"do_resize": True, "size": {"height": 24, "width": 20}}],
    ids=["mean and std", "/ 255 alone", "resized"],
)
def test_pixels_normalized_on_the_device_are_those_of_the_processor(options) -> None:
    processor = SegformerImageProcessor(**{"do_resize": False, **options})
    random = np.random.default_rng(0)
    samples = [
        {"index": index, "image": random.integers(0, 256, (32, 40, 3), dtype=np.uint8),
         "label": random.integers(0, 256, (32, 40), dtype=np.uint8)}
        for index in range(3)
    ]  # fmt: skip
    batch = Collator(processor, resize=True)(samples)
    assert batch["pixel_values"].dtype == batch["labels"].dtype == torch.uint8
    batch = on_device(batch, processor)
    expected = [processor(each["image"], return_tensors="pt")["pixel_values"] for each in samples]
    assert torch.equal(batch["pixel_values"], torch.cat(expected))
    assert batch["labels"].dtype == torch.int64
    assert torch.equal(batch["labels"][1], torch.from_numpy(samples[1]["label"]).long())
