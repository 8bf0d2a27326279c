"""The same seed gives the same weights to the last bit, and the same images in every step."""

import hashlib
from pathlib import Path

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from conftest import make_folder
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from small_run import OPTIONS
from torch.utils.data import BatchSampler

from hfseg.config.resolve import resolve
from hfseg.data.samples import EpochSampler
from hfseg.workflows.finetune import finetune


def weights(data: Path, output: Path, **options: object) -> dict[str, torch.Tensor]:
    more = {"dataset_path": str(data), "output_dir": str(output), "augmentation": "strong"}
    dropout = {"model_config": ["drop_path_rate=0.1", "classifier_dropout_prob=0.1"]}
    finetune(resolve({**OPTIONS, **more, **dropout, **options}))
    return load_file(output / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_number_of_data_workers_changes_no_bit(tmp_path: Path, precision: str) -> None:
    data = make_folder(tmp_path / "data", count=13, size=(48, 48))
    options = {"mixed_precision": precision, "use_cpu": True}
    expected = weights(data, tmp_path / "0", **options)
    for workers in (0, 1, 2):
        found = weights(
            data, tmp_path / f"again-{workers}", dataloader_num_workers=workers, **options
        )
        assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    sums = {
        hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        for folder in (tmp_path / "0", *tmp_path.glob("again-*"))
    }
    assert len(sums) == 1
    print(f"\n{precision}: with 0, 1 and 2 workers sha256 {sums.pop()[:16]}")
    other = weights(data, tmp_path / "seed", seed=7, **options)
    assert any(not torch.equal(other[name], expected[name]) for name in expected)


def images_of_steps(samples: int, size: int, accumulation: int, processes: int, epoch: int):
    """The images of each optimizer step, over all processes."""
    sampler = EpochSampler(samples, seed=3)
    sampler.start_epoch(epoch)
    shards = [
        list(BatchSamplerShard(BatchSampler(sampler, size, drop_last=False), processes, rank))
        for rank in range(processes)
    ]
    per_process = [
        [
            [key for batch in batches[at : at + accumulation] for key in batch]
            for at in range(0, len(batches), accumulation)
        ]
        for batches in shards
    ]
    return [
        {index for part in parts for _, index in part} for parts in zip(*per_process, strict=True)
    ]


@given(
    st.integers(1, 6), st.sampled_from([(4, 1, 1), (2, 2, 1), (1, 4, 1), (1, 2, 2), (2, 1, 2)]),
    st.integers(0, 3),
)  # fmt: skip
def test_every_step_has_the_same_images_however_its_batch_is_divided(
    steps: int, division: tuple[int, int, int], epoch: int
) -> None:
    size, accumulation, processes = division
    found = images_of_steps(4 * steps, size, accumulation, processes, epoch)
    assert found == images_of_steps(4 * steps, 4, 1, 1, epoch)
    assert sorted(index for step in found for index in step) == list(range(4 * steps))
