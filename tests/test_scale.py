"""The same training on any number of devices, and what more devices would bring."""

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from hfseg.config.data import DataArguments
from hfseg.config.run_recipe import continued
from hfseg.config.training import SegmentationTrainingArguments, divided_batch
from hfseg.data.samples import EpochSampler
from hfseg.errors import UserError
from hfseg.workflows.benchmark.index import benchmark_index
from hfseg.workflows.benchmark.reading import benchmark_reading
from hfseg.workflows.benchmark.scale import Costs, benchmark_scale, predict


@given(images=st.integers(1, 64), devices=st.integers(1, 8), largest=st.integers(1, 16))
def test_a_global_batch_is_that_size_or_refused(images: int, devices: int, largest: int) -> None:
    try:
        batch, steps = divided_batch(images, devices, largest)
    except UserError as error:
        part = images // devices
        assert images % devices or part % min(largest, part)
        assert str(images) in str(error)
    else:
        assert batch * steps * devices == images and batch <= largest


@pytest.mark.parametrize(
    ("images", "devices", "largest", "words"),
    [(16, 3, 4, "can't be divided among 3 devices"), (16, 2, 3, "give 2")],
)
def test_the_refusal_says_what_would_work(images, devices, largest, words) -> None:
    with pytest.raises(UserError, match=words):
        divided_batch(images, devices, largest)


def test_the_accumulation_follows_from_the_global_batch(tmp_path) -> None:
    args = SegmentationTrainingArguments(
        str(tmp_path), global_batch_size=16, per_device_train_batch_size=4
    )
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (4, 4)
    with pytest.raises(UserError, match="follows from --global_batch_size"):
        SegmentationTrainingArguments(
            str(tmp_path), global_batch_size=16, gradient_accumulation_steps=2
        )


@given(
    devices=st.sampled_from((1, 2, 4)), largest=st.sampled_from((1, 2, 4)), epoch=st.integers(0, 2)
)
def test_a_step_has_the_same_samples_on_any_number_of_devices(devices, largest, epoch) -> None:
    length, images = 32, 8
    batch, steps = divided_batch(images, devices, largest)
    found: list[set[int]] = [set() for _ in range(length // images)]
    for device in range(devices):
        sampler = EpochSampler(length, seed=3)
        sampler.start_epoch(epoch)
        shard = BatchSamplerShard(BatchSampler(sampler, batch, drop_last=False), devices, device)
        for number, keys in enumerate(shard):
            found[number // steps] |= {index for _, index in keys}
    order = np.random.default_rng((3, epoch)).permutation(length).tolist()
    assert found == [set(order[start : start + images]) for start in range(0, length, images)]


def test_a_resumed_run_may_have_another_batch_per_device(tmp_path) -> None:
    stored = {"global_batch_size": 16, "per_device_train_batch_size": 4}
    given_now = {"per_device_train_batch_size": 2}
    recipe = tmp_path / "recipe.yaml"
    assert continued(stored, given_now, {}, recipe)["per_device_train_batch_size"] == 2
    with pytest.raises(UserError, match="contradict"):
        continued({"per_device_train_batch_size": 4}, given_now, {}, recipe)


COSTS = Costs(sample=0.02, step=0.2, images=8, gradient=100 << 20)


@given(devices=st.integers(1, 512), cores=st.floats(0.5, 64), network=st.floats(1e7, 1e11))
def test_more_devices_are_never_more_efficient(devices, cores, network) -> None:
    few, more = (predict(COSTS, count, cores, network) for count in (devices, devices + 1))
    assert predict(COSTS, 1, cores, network).efficiency == 1
    assert 0 < more.efficiency <= few.efficiency <= 1


@pytest.mark.parametrize(
    ("cores", "network", "limit"), [(8, 1e12, "device"), (0.5, 1e12, "data"), (8, 1e8, "network")]
)
def test_the_bottleneck_is_named(cores: float, network: float, limit: str) -> None:
    assert predict(COSTS, 16, cores, network).bottleneck == limit


def test_four_devices_on_a_fast_network_are_four_times_as_fast() -> None:
    one, four = (predict(COSTS, count, 8, 1e12) for count in (1, 4))
    assert one.rate == pytest.approx(40) and four.rate == pytest.approx(160)


def test_the_second_start_is_measured_beside_the_first(capsys) -> None:
    (found,) = benchmark_reading(DataArguments(), pairs=12, workers=[0])
    assert found["workers"] == 0 and min(found["first"], found["second"]) > 0
    assert "second start" in capsys.readouterr().out


@pytest.mark.slow
def test_an_index_of_rows_is_measured_with_and_without_workers() -> None:
    few, _ = benchmark_index([64], [0, 1])
    assert few["batch"] > 0 and few["process"] > 0


@pytest.mark.slow
def test_the_costs_of_a_run_are_measured(segmentation_folder, tmp_path) -> None:
    options = {
        "dataset_name": "folder", "dataset_path": str(segmentation_folder), "crop_size": "32",
        "model_name_or_path": "segformer-tiny", "from_scratch": True, "mixed_precision": "no",
        "per_device_train_batch_size": 2, "output_dir": str(tmp_path / "run"),
    }  # fmt: skip
    one, two = benchmark_scale(options, devices=[1, 2], cores=8, gigabits=1000, steps=2)
    assert one.efficiency == 1 and one.rate < two.rate <= 2 * one.rate
