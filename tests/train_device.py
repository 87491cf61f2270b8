"""Draws on PyTorch's `meta` device, which computes nothing but knows where each tensor is: what a GPU would refuse, an
operation on tensors of two devices, fails here without one. Skipped before PyTorch 2.0, which cannot draw elsewhere."""
from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "training"))
import config  # noqa: E402  (the path is set above)
import draw  # noqa: E402

if not hasattr(torch.device, "__enter__"):
    print(f"skipped: drawing on another device needs PyTorch 2.0, this is {torch.__version__}")
    sys.exit(0)

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_flatten  # noqa: E402


class OneDevice(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        devices = {a.device.type for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)}
        if len(devices) > 1:
            raise AssertionError(f"{func} takes tensors of {' and '.join(sorted(devices))}")
        return func(*args, **kwargs)


choices = config.load(config.DEFAULT, ["episode.images=6"])
EPISODES = 40
with OneDevice():
    for number in range(EPISODES):
        chips = draw.episode(choices.world, choices.episode, 1, number, 64, torch.device("meta"))
        assert chips.device.type == "meta", chips.device
print(f"{EPISODES} episodes drawn without mixing devices")
