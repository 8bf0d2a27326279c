"""FSDP 2 with our configuration, as far as CPUs go: what accelerate divides, and what is saved.

A run refuses FSDP on CPUs, where accelerate would silently use DDP, so that its preparation of a
model is called here. The optimizer and mixed precision are tested on GPUs.
"""

import multiprocessing
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from families import FAMILIES
from launch import REPOSITORY
from tiny_universal import TINY
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel, set_seed

from hfseg import LabelSet, load_model
from hfseg.training.fully_sharded import make_divisible

CONFIG = REPOSITORY / "hfseg" / "config" / "accelerate" / "fsdp.yaml"
MODELS = {**FAMILIES, **TINY}


def model_of(name: str) -> PreTrainedModel:
    set_seed(0)
    return load_model(name, LabelSet(("a", "b", "c")), pretrained=False, **MODELS[name])[0].eval()


def divide(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What accelerate does on several GPUs with our configuration."""
    options = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["fsdp_config"]
    for key, value in options.items():
        monkeypatch.setenv(key.upper(), str(value))  # as `accelerate launch`
    state = SimpleNamespace(fsdp_plugin=FullyShardedDataParallelPlugin())
    make_divisible(model)
    fsdp2_prepare_model(
        SimpleNamespace(
            state=state, mixed_precision="no", is_main_process=True, device=torch.device("cpu")
        ),
        model,
    )


def step(model: PreTrainedModel, images: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(pixel_values=images).logits.square().mean().backward()
    optimizer.step()


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_is_a_unit_of_its_own(name: str, one_process, monkeypatch) -> None:
    model = model_of(name)
    divide(model, monkeypatch)
    classes = {type(part).__name__ for part in model.modules() if isinstance(part, FSDPModule)}
    assert classes & {f"FSDP{each}" for each in model._no_split_modules}
    step(model, torch.randn(2, 3, 64, 64))


def _train_in_two(rank: int, store: str, name: str, output: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        model = model_of(name)
        divide(model, monkeypatch)
    step(model, images_of(rank))
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = get_model_state_dict(model, options=options)  # as `Trainer` does
    if rank == 0:
        model.save_pretrained(output, state_dict=state)
    torch.distributed.destroy_process_group()


def images_of(rank: int) -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(rank))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segformer-tiny", "upernet-swin-tiny", "unet-resnet18"])
def test_two_processes_save_the_model_that_one_would(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    starting = multiprocessing.get_context("spawn")
    arguments = f"tcp://127.0.0.1:{port}", name, tmp_path / "saved"
    jobs = [starting.Process(target=_train_in_two, args=(rank, *arguments)) for rank in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(600)
        assert job.exitcode == 0

    expected = model_of(name)
    step(expected, torch.cat([images_of(0), images_of(1)]))
    saved, loading = type(expected).from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(saved.state_dict()[name], weight, atol=1e-6, rtol=1e-5)
