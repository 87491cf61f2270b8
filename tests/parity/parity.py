"""Compares the engine's embeddings with PyTorch's (float64) on ResNets with random weights.

Usage: parity.py PARITY_EMBED [ENCODER.safetensors...]
PARITY_EMBED is the program built from parity_embed.c; further files (half or full width ResNet-18 layouts and the
like) are compared as they are. Fails when a relative L2 error exceeds 1e-4.
"""
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from reference import (
    BasicBlock,
    Bottleneck,
    NarrowResNet,
    Pooling,
    embed,
    model_of,
    pooling_of,
    published,
    quantise,
    random_chips,
    randomise,
    read_safetensors,
    write_safetensors,
)

LIMIT = 1e-4
GREY = dict(mean=[0.4], std=[0.3])

# name, model, dtype, pooling, input size, chips
CASES = [
    ("resnet18 F32 224 px", lambda: published("resnet18"), "F32", None, 224, 3),
    ("resnet18 F16 64 px", lambda: published("resnet18"), "F16", None, 64, 5),
    ("resnet34 F32 96 px", lambda: published("resnet34"), "F32", Pooling([2, 3, 4]), 96, 3),
    ("resnet50 F32 64 px", lambda: published("resnet50"), "F32", None, 64, 5),
    ("resnet50 BF16 97 px", lambda: published("resnet50"), "BF16", Pooling([3, 4], ["mean", "std"]), 97, 3),
    ("resnet101 F32 96 px", lambda: published("resnet101"), "F32", None, 96, 4),
    ("resnet101 F16 224 px", lambda: published("resnet101"), "F16", None, 224, 1),
    (
        "half-width grey BasicBlock F32 64 px",
        lambda: NarrowResNet(BasicBlock, 32, [32, 64, 128, 256], [2, 2, 2, 2], 1),
        "F32",
        Pooling([2, 3, 4], ["mean", "std"], **GREY),
        64,
        32,
    ),
    (
        "with the chip itself, grey BasicBlock F16 45 px",
        lambda: NarrowResNet(BasicBlock, 16, [16, 16, 32, 32], [1, 1, 1, 1], 1),
        "F16",
        Pooling([0, 1, 4], ["mean", "std"], **GREY),
        45,
        5,
    ),
    (
        "three stages with fewer copies of the chip itself F16 45 px",
        lambda: NarrowResNet(BasicBlock, 16, [16, 16, 32], [1, 2, 1], 1),
        "F16",
        Pooling([0, 1, 2, 3], ["mean", "std"], **GREY, chip_copies=[24, 32]),
        45,
        5,
    ),
    (
        "resnet18 F32 64 px with the chip itself",
        lambda: published("resnet18"),
        "F32",
        Pooling([0, 4], ["std"]),
        64,
        3,
    ),
    (
        "narrow grey Bottleneck BF16 50 px",
        lambda: NarrowResNet(Bottleneck, 24, [12, 24, 40, 48], [1, 2, 3, 1], 1, 5),
        "BF16",
        Pooling([1, 4], ["std"], **GREY),
        50,
        32,
    ),
]


def engine_embed(program: str, weights: Path, chips: np.ndarray, folder: Path) -> np.ndarray:
    chips_file, out_file = folder / "chips.bin", folder / "embeddings.bin"
    chips.astype("<f4").tofile(chips_file)
    subprocess.run([program, weights, str(chips.shape[1]), chips_file, out_file], check=True)
    return np.fromfile(out_file, "<f4").reshape(len(chips), -1).astype(np.float64)


def report(name: str, ours: np.ndarray, theirs: np.ndarray) -> bool:
    """The largest error of a chip counts, not the mean."""
    if ours.shape != theirs.shape:
        print(f"FAIL {name}: {ours.shape[1]} dimensions, wanted {theirs.shape[1]}")
        return False
    errors = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    good = bool(errors.max() <= LIMIT)
    print(f"{'ok  ' if good else 'FAIL'} {name}: relative L2 error {errors.max():.2e} ({theirs.shape[1]} dimensions)")
    return good


def compare_random(program: str, folder: Path) -> bool:
    good = True
    for seed, (name, make, dtype, pooling, size, n) in enumerate(CASES):
        model = make()
        randomise(model, seed)
        weights = folder / "weights.safetensors"
        write_safetensors(weights, quantise(model, dtype), pooling)
        chips = random_chips(n, size, seed)
        good &= report(name, engine_embed(program, weights, chips, folder), embed(model, chips, pooling))
    return good


def compare_file(program: str, path: Path, folder: Path) -> bool:
    tensors, described = read_safetensors(path)
    chips = random_chips(32, described.get("input_size", 224), 99)
    ours = engine_embed(program, path, chips, folder)
    return report(path.name, ours, embed(model_of(tensors), chips, pooling_of(described)))


def main() -> int:
    program, files = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = compare_random(program, folder)
        for file in files:
            good &= compare_file(program, Path(file), folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
