"""Python imports this at its start where the folder is on PYTHONPATH: see `launch.on_cpu`."""

import os

import torch

HAS_BF16 = os.environ["TEST_CPU_HAS_BF16"] == "true"
torch.cpu._is_avx512_bf16_supported = lambda: HAS_BF16
torch.cpu._is_amx_tile_supported = lambda: HAS_BF16
