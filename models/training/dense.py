"""Vectors of chips from maps of their whole image: the PyTorch reference of how the service encodes an image.

The image is scaled so that a chip has the encoder's input size, the network runs over it in overlapping tiles, and
each chip is pooled from its own window of the maps.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from config import Network
from model import WINDOWS, Encoder

TILE_MOST = 512  # pixels a side, with the margins
CORE_MOST = 320
CORE_STEP = 32  # the last stage's step
CELL = 4  # pixels a side that stage 0 is averaged over
GREY_STEPS = 65535  # of stage 0
LEAST = 2.0**-14  # values of a map below it are 0: half precision has no subnormal numbers here


def scaled_axis(pixels: np.ndarray, input_size: int, chip: int) -> np.ndarray:
    """Scales the last axis so that `chip` samples become `input_size`; a sample begun at its end is one too."""
    n = pixels.shape[-1]
    scale = chip / input_size
    centres = (np.arange(-(-n * input_size // chip)) + 0.5) * scale
    half = max(1.0, scale)
    first = np.floor(centres - half).astype(int)
    taps = first[:, None] + np.arange(math.ceil(2 * half) + 2)
    weights = np.maximum(0, 1 - np.abs(taps + 0.5 - centres[:, None]) / half) * ((taps >= 0) & (taps < n))
    lost = weights.sum(1) == 0  # beyond the last sample by more than the triangle reaches
    weights[lost, 0], taps[lost, 0] = 1, n - 1
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    taps = taps.clip(0, n - 1)
    return sum(weights[:, i] * pixels[..., taps[:, i]] for i in range(taps.shape[1]))


def scaled(image: np.ndarray, input_size: int, chip: tuple[int, int]) -> np.ndarray:
    """An image (height, width) of grey values 0..1; `chip` is (height, width)."""
    rows = scaled_axis(np.asarray(image, dtype=np.float32), input_size, chip[1])
    return np.ascontiguousarray(scaled_axis(rows.T, input_size, chip[0]).T, dtype=np.float32)


def margin_of(input_size: int) -> int:
    return 16 * -(-input_size // 64)


def core_of(height: int, width: int, margin: int) -> int:
    """The side of a tile without its margins, for which all tiles have the fewest pixels; the smallest of equals."""
    cores = range(2 * CORE_STEP, min(CORE_MOST, TILE_MOST - 2 * margin) + 1, CORE_STEP)
    return min(cores, key=lambda core: -(-height // core) * -(-width // core) * (core + 2 * margin) ** 2)


def mirrored(first: int, count: int, n: int, margin: int) -> np.ndarray:
    """Where the samples from `first` on are taken from in an axis of n: mirrored at its ends by the margin, beyond which
    the last one goes on."""
    i = np.mod(np.minimum(np.arange(first, first + count), n + margin - 1), 2 * n)
    return np.where(i < n, i, 2 * n - 1 - i)


def rounded(values: np.ndarray, stage: int) -> np.ndarray:
    """Values of a stage's map as they are kept: in half precision, and the image itself, stage 0, in its steps."""
    if stage == 0:
        return np.rint(values * GREY_STEPS) / GREY_STEPS
    return np.where(values < LEAST, 0, np.minimum(values, 65504)).astype(np.float16).astype(np.float32)


def overlaps(cells: int, step: int, first: float, start: float, side: float) -> tuple[slice, np.ndarray]:
    """The cells of an axis that share something with [start, start + side), and how much of it each shares. Cells are
    `step` wide, the first about `first`; the outermost stand for all that is beyond."""
    low = np.arange(cells) * step + (first - step / 2)
    high = low + step
    low[0], high[-1] = -math.inf, math.inf
    share = np.minimum(high, start + side) - np.maximum(low, start)
    inside = np.flatnonzero(share > 0)
    seen = slice(inside[0], inside[-1] + 1)
    return seen, share[seen] / side


@dataclass(frozen=True)
class Stage:
    map: np.ndarray  # (channels, height, width)
    step: int  # from one position to the next, in scaled pixels
    first: float  # centre of the first position of either axis

    def moments(self, top: float, left: float, side: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each channel over a window of the scaled image."""
        rows, y = overlaps(self.map.shape[1], self.step, self.first, top, side)
        columns, x = overlaps(self.map.shape[2], self.step, self.first, left, side)
        seen = self.map[:, rows, columns].astype(np.float64)
        mean = np.einsum("cyx,y,x->c", seen, y, x)
        return mean, np.maximum(0, np.einsum("cyx,y,x->c", seen**2, y, x) - mean**2)


def grey_stage(image: np.ndarray) -> Stage:
    """Stage 0: the scaled image itself, by cells; those at its far edges average what there is."""
    sums = image.astype(np.float64)
    for axis, n in enumerate(image.shape):
        starts = np.arange(0, n, CELL)
        sums = np.add.reduceat(sums, starts, axis)
        sums = sums / np.minimum(CELL, n - starts).reshape((-1, 1) if axis == 0 else (1, -1))
    return Stage(sums[None], CELL, CELL / 2)


@torch.no_grad()
def maps_of(encoder: Encoder, image: np.ndarray) -> dict[int, Stage]:
    """The pooled stages of a scaled image, not rounded."""
    encoder.eval()
    height, width = image.shape
    stages, margin = encoder.network.pool_stages, margin_of(encoder.network.input_size)
    core = core_of(height, width, margin)
    parts: dict[int, list[list[np.ndarray]]] = {stage: [] for stage in stages if stage}
    for top in range(0, height, core):
        for row in parts.values():
            row.append([])
        for left in range(0, width, core):
            rows, columns = (mirrored(at - margin, core + 2 * margin, n, margin)
                             for at, n in ((top, height), (left, width)))
            maps = encoder(torch.from_numpy(image[np.ix_(rows, columns)])[None, None])
            for stage, m in zip(stages, maps):
                step = 2 ** (stage + 1)
                begin, count = -(-margin // step), core // step  # of the positions whose centres lie in the core
                if stage:
                    parts[stage][-1].append(m[0, :, begin : begin + count, begin : begin + count].numpy())
    found = {0: grey_stage(image)} if 0 in stages else {}
    for stage, rows in parts.items():
        step = 2 ** (stage + 1)
        first = -(-margin // step) * step - margin + 0.5
        # Positions whose centre lies beyond the image are dropped, but for one.
        y, x = (max(1, math.ceil((n - first) / step)) for n in (height, width))
        whole = np.concatenate([np.concatenate(row, 2) for row in rows], 1)[:, :y, :x]
        found[stage] = Stage(whole, step, first)
    return found


def kept(stages: dict[int, Stage]) -> dict[int, Stage]:
    return {number: replace(stage, map=rounded(stage.map, number)) for number, stage in stages.items()}


def unit(values: np.ndarray) -> np.ndarray:
    return values / max(float(np.linalg.norm(values)), 1e-12)


def slow_contrast(grey: Stage, top: float, left: float, input_size: int) -> float:
    """How much brighter the brightest window of a third of the chip is than the darkest."""
    side = (input_size + 1) // 3
    offsets = [i * (input_size - side) / (WINDOWS - 1) for i in range(WINDOWS)]
    means = [float(grey.moments(top + y, left + x, side)[0][0]) for y in offsets for x in offsets]
    return max(means) - min(means)


def vector(stages: dict[int, Stage], top: float, left: float, network: Network) -> np.ndarray:
    """Of the chip at [top, top + input_size) x [left, left + input_size) of the scaled image."""
    parts, input_size = [], network.input_size
    for number, stage in sorted(stages.items()):
        mean, variance = stage.moments(top, left, input_size)
        if number:
            parts += [unit(mean), unit(np.sqrt(variance))]
            continue
        contrast = slow_contrast(stage, top, left, input_size)
        parts += [np.repeat(value / n**0.5, n) for value, n in zip((mean, contrast), network.chip_copies)]
    return np.concatenate(parts)


def embed_image(encoder: Encoder, image: np.ndarray, chip: tuple[int, int], corners: list[tuple[int, int]]) -> Tensor:
    """(chips, dimensions): the vectors of the chips (height, width) with these corners (x, y), in native pixels."""
    size = encoder.network.input_size
    stages = kept(maps_of(encoder, scaled(image, size, chip)))
    vectors = [vector(stages, y * size / chip[0], x * size / chip[1], encoder.network) for x, y in corners]
    return torch.from_numpy(np.stack(vectors)).float()
