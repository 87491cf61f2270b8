"""The encoder: a ResNet for one grey channel, and the vector it makes of a chip.

Layout and parameter names are torchvision's (He et al. 2016), so that a reader who knows that file layout can load
the weights: stride-2 stem, max-pooling, up to four stages of basic blocks, no classifier.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config import Network

FLOOR = 1e-6  # of a dimension's standard deviation over the chips of an image, as in the service
TRAINING_FLOOR = 1e-3  # in training: keeps the slope finite where a dimension hardly varies
SILENT = 1e-12  # variance below which a channel is silent
WINDOWS = 9  # of stage 0, along each axis
OLD_COPIES = (48, 64)  # of the two numbers that stage 0 gives to a vector, where a file does not say


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
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        kernel = network.stem_kernel
        self.conv1 = nn.Conv2d(1, network.stem, kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(network.stem)
        fan_in = network.stem
        for number in range(1, network.pool_stages[-1] + 1):
            width, depth = network.widths[number - 1], network.depths[number - 1]
            blocks = [Block(fan_in, width, 1 if number == 1 else 2)]
            blocks += [Block(width, width, 1) for _ in range(depth - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            fan_in = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, chips: Tensor) -> list[Tensor]:
        """chips: (n, 1, input_size, input_size), grey values 0..1. Returns the maps of the pooled stages. That of
        stage 0 is the chip itself."""
        x = (chips - self.network.mean) / self.network.std
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = [chips] if 0 in self.network.pool_stages else []
        for number in range(1, self.network.pool_stages[-1] + 1):
            x = getattr(self, f"layer{number}")(x)
            if number in self.network.pool_stages:
                maps.append(x)
        return maps


def network_of(tensors: dict[str, Tensor], described: dict) -> Network:
    """The network that a weights file describes by its shapes and its metadata."""
    stages = [stage for stage in range(1, 5) if f"layer{stage}.0.conv1.weight" in tensors]
    return Network(
        input_size=described["input_size"],
        mean=described["mean"][0],
        std=described["std"][0],
        stem=tensors["conv1.weight"].shape[0],
        stem_kernel=tensors["conv1.weight"].shape[2],
        widths=tuple(tensors[f"layer{stage}.0.conv1.weight"].shape[0] for stage in stages),
        depths=tuple(len({name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")}) for stage in stages),
        pool_stages=tuple(described["pool"]["stages"]),
        chip_copies=tuple(described["pool"].get("chip_copies", OLD_COPIES)),
    )


def unit(v: Tensor) -> Tensor:
    return F.normalize(v, dim=1, eps=1e-12)


def of_chip(chips: Tensor, copies: tuple[int, int]) -> Tensor:
    """Stage 0 of chips (n, 1, side, side): copies of two numbers, each divided by the root of how many there are.

    The mean, and the slow contrast: how much brighter the brightest window is than the darkest. Windows are a third of
    the chip wide and evenly spread; in them lattice and noise average out.
    """
    side = chips.shape[-1]
    width = (side + 1) // 3
    places = [i * (side - width) // (WINDOWS - 1) for i in range(WINDOWS)]
    windows = F.avg_pool2d(chips, width, 1)[:, :, places][:, :, :, places].flatten(1)
    contrast = windows.amax(1, keepdim=True) - windows.amin(1, keepdim=True)
    mean = chips.mean((1, 2, 3))[:, None]
    return torch.cat([number.expand(-1, n) / n**0.5 for number, n in zip((mean, contrast), copies)], 1)


def described(mean: Tensor, variance: Tensor) -> Tensor:
    """Mean and standard deviation of a stage's channels, (n, channels) each, both of unit length."""
    # The root's slope at zero is infinite, and a small number under it would do harm: what it leaves in a silent
    # channel varies with the length of the whole vector, and standardising would raise that to the weight of a channel
    # that sees something. So a silent channel gives zero, and learns nothing from it.
    deviation = torch.where(variance > SILENT, variance.clamp(min=SILENT).sqrt(), 0 * variance)
    return torch.cat([unit(mean), unit(deviation)], 1)


def embed(maps: list[Tensor], copies: tuple[int, int]) -> Tensor:
    """Mean and population standard deviation over positions of every pooled stage, each of unit length. A map of one
    channel is stage 0, the chip itself."""
    parts = []
    for m in maps:
        m = m.float()
        if m.shape[1] == 1:
            parts.append(of_chip(m, copies))
            continue
        mean = m.mean((2, 3), keepdim=True)
        # Of squares of differences, not by the library's var, which is slow for channels-last maps.
        parts.append(described(mean.flatten(1), ((m - mean) ** 2).mean((2, 3))))
    return torch.cat(parts, 1)


@lru_cache(maxsize=1024)
def window_weights(
    positions: int, step: int, first: float, starts: tuple[float, ...], side: float, device: torch.device
) -> Tensor:
    """(windows, positions): what each position of a map counts in the windows [start, start + side), along one axis.

    A position stands for a cell as wide as the stage's step about its centre, the outermost for all that is beyond;
    `first` is the centre of the first. Kept, because a training asks for the same ones again and again.
    """
    low = torch.arange(positions, dtype=torch.float64) * step + (first - step / 2)
    high = low + step
    low[0], high[-1] = -math.inf, math.inf
    start = torch.tensor(starts, dtype=torch.float64)[:, None]
    overlap = torch.minimum(high, start + side) - torch.maximum(low, start)
    return (overlap.clamp(min=0) / side).float().to(device)


@dataclass(frozen=True)
class Windows:
    """Where the chips of a canvas lie, row by row: the places of their tops and lefts, and their side, in pixels."""

    tops: tuple[float, ...]
    lefts: tuple[float, ...]
    side: int

    def pool(self, m: Tensor, stage: int) -> Tensor:
        """A map (images, channels, height, width) of a stage of 1..4, to (images * windows, 2 * channels)."""
        step = 2 ** (stage + 1)
        rows = window_weights(m.shape[2], step, 0.5, self.tops, self.side, m.device)
        columns = window_weights(m.shape[3], step, 0.5, self.lefts, self.side, m.device)
        # About the image's own mean, since the difference of two large sums would lose a small variance.
        m = m.float()
        centre = m.detach().mean((2, 3), keepdim=True)
        apart = m - centre
        mean = torch.einsum("bcyx,iy,jx->bijc", apart, rows, columns)
        square = torch.einsum("bcyx,iy,jx->bijc", apart**2, rows, columns)
        variance = square - mean**2
        return described((mean + centre.reshape(len(m), 1, 1, -1)).flatten(0, 2), variance.flatten(0, 2))


def embed_windows(maps: list[Tensor], network: Network, chips: Tensor, windows: Windows) -> Tensor:
    """As embed, of chips seen within canvases. `chips` are those of the windows, in their order; `maps` of the pooled
    stages of the canvases."""
    return torch.cat([windows.pool(m, stage) if stage else of_chip(chips, network.chip_copies)
                      for m, stage in zip(maps, network.pool_stages)], 1)


def standardise(vectors: Tensor, floor: float = FLOOR) -> Tensor:
    """Per dimension over the given chips (those of one image), then to unit length, as the service does it.

    vectors: (..., chips, dimensions)
    """
    apart = vectors - vectors.mean(-2, keepdim=True)
    if floor == FLOOR:
        return F.normalize(apart / ((apart**2).mean(-2, keepdim=True).sqrt() + floor), dim=-1, eps=1e-12)
    return F.normalize(apart / ((apart**2).mean(-2, keepdim=True) + floor**2).sqrt(), dim=-1, eps=1e-12)
