"""The encoder: a half-width ResNet-18 for one grey channel, and the vector it makes of a chip.

Layout and parameter names are torchvision's (He et al. 2016), so that a reader who knows that file layout can load
the weights: 7x7 stride-2 stem, max-pooling, four stages of two basic blocks, widths 32/64/128/256, no classifier.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SIZE = 64
MEAN, STD = 0.4, 0.3
WIDTHS = (32, 64, 128, 256)
POOL_STAGES = (2, 3, 4)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, fan_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or fan_in != width:
            self.downsample = nn.Sequential(nn.Conv2d(fan_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + shortcut)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        fan_in = WIDTHS[0]
        for number, width in enumerate(WIDTHS, start=1):
            stage = nn.Sequential(Block(fan_in, width, 1 if number == 1 else 2), Block(width, width, 1))
            setattr(self, f"layer{number}", stage)
            fan_in = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, chips: Tensor) -> list[Tensor]:
        """chips: (n, 1, 64, 64), grey values 0..1. Returns the maps of the pooled stages."""
        x = (chips - MEAN) / STD
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for number in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"layer{number}")(x)
            if number in POOL_STAGES:
                maps.append(x)
        return maps


def unit(v: Tensor) -> Tensor:
    return F.normalize(v, dim=1, eps=1e-12)


def embed(maps: list[Tensor]) -> Tensor:
    """Mean and population standard deviation over positions of every pooled stage, each of unit length.

    The small number under the root keeps its slope finite in training; in float32 it does not change the value.
    """
    parts = []
    for m in maps:
        m = m.float()
        mean = m.mean((2, 3), keepdim=True)
        parts.append(unit(mean.flatten(1)))
        # Of squares of differences, not by the library's var, which is slow for channels-last maps.
        parts.append(unit((((m - mean) ** 2).mean((2, 3)) + 1e-10).sqrt()))
    return torch.cat(parts, 1)


def standardise(vectors: Tensor) -> Tensor:
    """Per dimension over the given chips (those of one image), then to unit length, as the service does it."""
    mean, std = vectors.mean(0), vectors.std(0, unbiased=False)
    return unit((vectors - mean) / (std + 1e-6))
