"""CUDA without CUDA: tensors that have a device and a shape, but no values.

Under `FakeTensorMode` every operation checks that its tensors are on one device, and one whose
result depends on values (`item`, `nonzero`, `bool(tensor)`) raises: on a GPU it would make the host
wait for the device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass
class HostReads:
    """How often tensors were copied to the host, each of which makes it wait."""

    count: int = 0


class _CountCopies(TorchDispatchMode):
    def __init__(self, reads: HostReads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        on = [each.device.type for each in (result, *args[:1]) if isinstance(each, torch.Tensor)]
        self.reads.count += on == ["cpu", "cuda"]
        return result


@contextmanager
def fake_tensors() -> Iterator[HostReads]:
    """Tensors made inside have no values; `numpy()` gives zeros of the shape, if on the CPU."""
    reads = HostReads()

    def numpy(tensor: torch.Tensor) -> np.ndarray:
        assert tensor.device.type == "cpu", "numpy() of a tensor on the device"
        return np.zeros(tensor.shape, dtype=str(tensor.dtype).removeprefix("torch."))

    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(), _CountCopies(reads):
        patch.setattr(torch.Tensor, "numpy", numpy)
        try:
            yield reads
        except RuntimeError as error:
            # some CUDA builds of torch ask the driver to choose kernels, even for fake tensors
            if "CUDA driver version is insufficient" in str(error):
                pytest.skip("CUDA without a GPU: run the tests with a newer torch")
            raise


def make_fake(model: torch.nn.Module, device: str = "cuda") -> torch.nn.Module:
    """Replace every parameter and buffer by a fake one; other tensors are left and so found out."""
    for module in model.modules():
        for name, value in module._parameters.items():
            if value is not None:
                empty = torch.empty(value.shape, dtype=value.dtype, device=device)
                module._parameters[name] = torch.nn.Parameter(empty, value.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=device)
    return model
