"""ResNets with random weights, written as safetensors and run by PyTorch in float64.

The reference that the engine is compared with: torchvision's own models for the published shapes, and torchvision's
own blocks in networks of other widths. Used by parity.py and by tests/fixtures/encoder/make.py.
"""
from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
WINDOWS = 9  # of stage 0, the chip itself, along each axis
COPIES = [48, 64]  # of stage 0's mean and contrast, where a file says nothing
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass
class Pooling:
    """What the metadata says: None for a file without metadata."""

    stages: list[int] = field(default_factory=lambda: [4])
    statistics: list[str] = field(default_factory=lambda: ["mean"])
    mean: list[float] | None = None
    std: list[float] | None = None
    input_size: int = 224
    name: str = "random"
    chip_copies: list[int] | None = None


class NarrowResNet(nn.Module):
    """A ResNet of any widths, depths, input channels and stem kernel."""

    def __init__(self, block, stem: int, widths: list[int], depths: list[int], channels: int, kernel: int = 7) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        fan_in = stem
        for number, (width, depth) in enumerate(zip(widths, depths), start=1):
            blocks = []
            for i in range(depth):
                stride = 2 if number > 1 and i == 0 else 1
                fan_out = width * block.expansion
                downsample = None
                if stride != 1 or fan_in != fan_out:
                    downsample = nn.Sequential(
                        nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), nn.BatchNorm2d(fan_out)
                    )
                blocks.append(block(fan_in, width, stride, downsample))
                fan_in = fan_out
            setattr(self, f"layer{number}", nn.Sequential(*blocks))


def published(name: str) -> nn.Module:
    return getattr(torchvision.models, name)(weights=None)


def randomise(model: nn.Module, seed: int) -> None:
    """Every batch-norm tensor takes part in the result: none keeps its trivial initial value."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.3, 2.0, generator=generator)


def quantise(model: nn.Module, dtype: str) -> dict[str, Tensor]:
    """Rounds the model's tensors to the file's dtype and returns them as stored."""
    stored = {}
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            rounded = tensor.to(DTYPES[dtype])
            tensor.copy_(rounded.to(tensor.dtype))
            stored[name] = rounded
        else:
            stored[name] = tensor
    return stored


def raw_bytes(tensor: Tensor) -> tuple[str, bytes]:
    if tensor.dtype == torch.bfloat16:
        return "BF16", tensor.contiguous().view(torch.int16).numpy().tobytes()
    name = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}[tensor.dtype]
    return name, tensor.contiguous().numpy().tobytes()


def write_safetensors(path: Path, tensors: dict[str, Tensor], pooling: Pooling | None) -> None:
    header: dict = {}
    if pooling is not None:
        described = {
            "format": 1,
            "name": pooling.name,
            "input_size": pooling.input_size,
            "pool": {"stages": pooling.stages, "statistics": pooling.statistics},
        }
        if pooling.chip_copies is not None:
            described["pool"]["chip_copies"] = pooling.chip_copies
        if pooling.mean is not None:
            described |= {"mean": pooling.mean, "std": pooling.std}
        header["__metadata__"] = {"chipshot": json.dumps(described)}
    data = bytearray()
    for name, tensor in tensors.items():
        dtype, raw = raw_bytes(tensor)
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Floating-point tensors as float32, and the metadata's "chipshot" object."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    described = json.loads(header.pop("__metadata__", {}).get("chipshot", "{}"))
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "I64":
            continue
        values = torch.frombuffer(bytearray(raw[begin:end]), dtype=DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"]).float()
    return tensors, described


def model_of(tensors: dict) -> NarrowResNet:
    """The network that a file of BasicBlocks or Bottlenecks describes (one width a stage, and the last may lack)."""
    block = Bottleneck if "layer1.0.conv3.weight" in tensors else BasicBlock
    depths = [sum(f"layer{s}.{i}.conv1.weight" in tensors for i in range(200)) for s in range(1, 5)]
    depths = depths[: sum(depth > 0 for depth in depths)]
    widths = [tensors[f"layer{s}.0.conv1.weight"].shape[0] for s in range(1, len(depths) + 1)]
    stem, channels, kernel, _ = tensors["conv1.weight"].shape
    model = NarrowResNet(block, stem, widths, depths, channels, kernel)
    model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("fc.")}, strict=False)
    return model


def pooling_of(described: dict) -> Pooling:
    pool = described.get("pool", {})
    return Pooling(
        pool.get("stages", [4]), pool.get("statistics", ["mean"]), described.get("mean"), described.get("std"),
        chip_copies=pool.get("chip_copies"),
    )


def stage_maps(model: nn.Module, x: Tensor, stages: list[int]) -> list[Tensor]:
    """The feature maps of some of the stages 1 to 4, of images that normalised() has prepared."""
    x = F.max_pool2d(F.relu(model.bn1(model.conv1(x))), 3, 2, 1)
    maps = []
    for number in range(1, max(stages) + 1):
        x = getattr(model, f"layer{number}")(x)
        if number in stages:
            maps.append(x)
    return maps


class StageMaps(nn.Module):
    """The feature maps of the pooled stages 1 to 4."""

    def __init__(self, model: nn.Module, pooling: Pooling | None) -> None:
        super().__init__()
        self.model, self.stages = model, (pooling or Pooling()).stages

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(stage_maps(self.model, x, self.stages))


class Embedder(nn.Module):
    """The embedding as encoder.h defines it, of chips that normalised() has prepared."""

    def __init__(self, model: nn.Module, pooling: Pooling | None) -> None:
        super().__init__()
        self.model = model
        pooling = pooling or Pooling()
        self.stages, self.statistics = pooling.stages, pooling.statistics
        self.copies = dict(zip(("mean", "std"), pooling.chip_copies or COPIES))
        self.mean, self.std = (of_channel[0] for of_channel in normalisation(model, pooling))

    def forward(self, x: Tensor) -> Tensor:
        chip = x[:, :1] * self.std + self.mean
        parts = []
        for m in stage_maps(self.model, x, self.stages):
            flat = m.flatten(2)
            if "mean" in self.statistics:
                parts.append(flat.mean(2))
            if "std" in self.statistics:
                parts.append(flat.var(2, unbiased=False).sqrt())
        if len(parts) + (0 in self.stages) > 1:
            parts = [F.normalize(part, dim=1, eps=1e-12) for part in parts]
        if 0 in self.stages:
            numbers = chip_numbers(chip)
            parts = [numbers[n].repeat(1, self.copies[n]) / self.copies[n] ** 0.5 for n in self.statistics] + parts
        return torch.cat(parts, 1)


def chip_numbers(chip: Tensor) -> dict[str, Tensor]:
    """Mean, and brightest less darkest window of a third of the chip, each (n, 1)."""
    side = chip.shape[-1]
    width = (side + 1) // 3
    windows = torch.stack([
        chip[:, 0, v * (side - width) // (WINDOWS - 1) :][:, :width, u * (side - width) // (WINDOWS - 1) :][:, :, :width]
        .mean((1, 2))
        for v in range(WINDOWS) for u in range(WINDOWS)
    ], 1)
    return {"mean": chip.mean((1, 2, 3))[:, None], "std": (windows.amax(1) - windows.amin(1))[:, None]}


def normalisation(model: nn.Module, pooling: Pooling | None) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each input channel."""
    if pooling and pooling.mean is not None:
        return pooling.mean, pooling.std
    return ([0.0], [1.0]) if model.conv1.in_channels == 1 else (IMAGENET_MEAN, IMAGENET_STD)


def normalised(model: nn.Module, chips: np.ndarray, pooling: Pooling | None) -> Tensor:
    """What the network is given for chips of (n, size, size) in 0..1, in float64."""
    channels = model.conv1.in_channels
    mean, std = normalisation(model, pooling)
    x = torch.from_numpy(chips).double()[:, None].repeat(1, channels, 1, 1)
    return (x - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[:, None, None]


@torch.no_grad()
def embed(model: nn.Module, chips: np.ndarray, pooling: Pooling | None) -> np.ndarray:
    """chips: (n, size, size) float32 in 0..1. The embedding as encoder.h defines it, in float64."""
    x = normalised(model, chips, pooling)
    return Embedder(model.double().eval(), pooling)(x).numpy()


def random_chips(n: int, size: int, seed: int) -> np.ndarray:
    """Waves and noise, clipped to 0..1: flat, periodic and rough parts."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size]
    chips = np.empty((n, size, size), np.float32)
    for chip in chips:
        fx, fy, phase = random.uniform(0.05, 1.2, 2).tolist() + [random.uniform(0, 6.28)]
        chip[:] = 0.5 + 0.4 * np.sin(fx * x + fy * y + phase) + random.normal(0, 0.15, (size, size))
    return chips.clip(0, 1)
