"""What an encoder's arithmetic consists of, and how much of it Winograd's convolution can save: a table in Markdown.

Usage: work.py. The rows are those of `make bench-peers`. Counted are multiplications; a network's last stage is
included, its classifier is not.
"""
from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import nn

from peers import DEFAULT_ENCODER, ROWS, Row

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))
from reference import Embedder, model_of, pooling_of, published, read_safetensors


def network(row: Row) -> Embedder:
    if row.network != "default":
        return Embedder(published(row.network), None).eval()
    tensors, described = read_safetensors(DEFAULT_ENCODER)
    return Embedder(model_of(tensors), pooling_of(described)).eval()


@torch.no_grad()
def convolutions(row: Row) -> list[tuple[nn.Conv2d, int]]:
    """Each with the side of the map that it makes."""
    embedder = network(row)
    found: list[tuple[nn.Conv2d, int]] = []
    for module in embedder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda conv, _, out: found.append((conv, out.shape[-1])))
    embedder(torch.zeros(1, embedder.model.conv1.in_channels, row.size, row.size))
    return found


def winograd(channels: int, side: int, tile: int) -> int:
    """Multiplications of F(tile x tile, 3x3); tiles that hang over the edge are computed in full."""
    n_tiles = math.ceil(side / tile) ** 2
    return n_tiles * (tile + 2) ** 2 * channels


def count(row: Row) -> list[str]:
    total = pointwise = plain = rest = left = n_weights = 0
    for conv, side in convolutions(row):
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        channels = conv.in_channels * conv.out_channels
        direct = needed = side * side * kernel * kernel * channels
        if kernel == 1:
            pointwise += direct
        elif kernel == 3 and stride == 1:
            plain += direct
            needed = min(direct, winograd(channels, side, 2), winograd(channels, side, 4))
        else:
            rest += direct
        if conv.kernel_size[0] > 3 and conv.in_channels == 3:
            needed = direct // 3  # a grey chip in three channels is one channel
        total += direct
        left += needed
        n_weights += conv.weight.numel()
    return [
        row.network, f"{row.size} px", f"{2 * total / 1e9:.3f}", *(f"{100 * part / total:.0f} %" for part in
        (plain, pointwise, rest)), f"{100 * left / total:.0f} %", f"{total / left:.2f}", f"{4 * n_weights / 1e6:.0f}",
    ]


def main() -> None:
    print("GFLOP a chip are those of direct convolution (a multiplication and an addition); the parts are of the")
    print("multiplications. Needed: with the better of Winograd's F(2x2, 3x3) and F(4x4, 3x3) for each 3x3")
    print("convolution of stride 1, and one channel in the first layer; the transforms are not counted.\n")
    print("| network | input | GFLOP | 3x3, stride 1 | 1x1 | other | needed | direct / needed | MB of weights |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for network_name, size in dict.fromkeys((row.network, row.size) for row in ROWS):
        print("| " + " | ".join(count(Row(network_name, size, 1, None))) + " |")


if __name__ == "__main__":
    main()
