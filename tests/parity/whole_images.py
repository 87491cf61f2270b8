"""Compares dense encoding with PyTorch: whole images, of which `chipshot embed --encoding dense` makes chips' vectors.

Usage: whole_images.py CHIPSHOT ENCODER.safetensors
The reference is models/training/dense.py, the one definition of dense encoding in Python, with networks that run in
float64. Chips lie on a grid and anywhere. Fails when a number of a vector differs by 1e-4 or more.

Maps are rounded to half precision, and where a value lies between two of its numbers, both sides may be right: the one
may round it up, the other down. What that is worth, in each number of each vector, is not counted; the figure with it
is printed beside the other.
"""
from __future__ import annotations

import csv
import dataclasses
import struct
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from reference import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Pooling,
    model_of,
    normalised,
    pooling_of,
    published,
    quantise,
    randomise,
    read_safetensors,
    stage_maps,
    write_safetensors,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "training"))
import dense  # noqa: E402
from model import network_of  # noqa: E402

LIMIT = 1e-4
UNSURE = 2e-6  # of a stage's largest value: what float32 may err by
ANYWHERE = 12  # chips of an image beside those of its grid
DEPTHS = {8: np.dtype("u1"), 16: np.dtype(">u2")}
COLOUR = Pooling([0, 1, 2, 3, 4], ["mean", "std"], IMAGENET_MEAN, IMAGENET_STD, 64)


@dataclass(frozen=True)
class Case:
    about: str
    width: int
    height: int
    depth: int  # bits
    chip: int
    input_size: int | None = None  # instead of the encoder's own


# The image's size on the scale at which a chip is the encoder's input decides how many tiles it has.
CASES = {
    "own": [
        Case("one tile, 8 bit", 330, 240, 8, 64),
        Case("many tiles, 16 bit", 700, 470, 16, 32),
        Case("smaller than a tile, chips as they are", 71, 50, 8, 48),
        Case("one chip, 16 bit", 33, 33, 16, 33),
        Case("reduced a lot", 900, 650, 8, 200),
        Case("at 72 px, with the wider margin", 301, 203, 16, 50, 72),
    ],
    "resnet18": [
        Case("many tiles, 16 bit", 620, 180, 16, 48),
        Case("smaller than a tile, 8 bit", 90, 70, 8, 64),
        Case("enlarged, at 45 px", 160, 110, 8, 30, 45),
    ],
}


class Network:
    """Of the reference, as dense.py takes one."""

    def __init__(self, path: Path, input_size: int | None) -> None:
        tensors, described = read_safetensors(path)
        network = network_of(tensors, described)
        self.network = dataclasses.replace(network, input_size=input_size or network.input_size)
        self.pooling = pooling_of(described)
        self.model = model_of(tensors).double()

    def eval(self) -> Network:
        self.model.eval()
        return self

    def __call__(self, tiles: Tensor) -> list[Tensor]:
        stages = self.pooling.stages
        maps = stage_maps(self.model, normalised(self.model, tiles[:, 0].numpy(), self.pooling), stages)
        return ([tiles] if 0 in stages else []) + maps


def draw(case: Case, seed: int) -> np.ndarray:
    """(height, width) samples: waves whose length changes and noise, nowhere flat. So many are black and so many white
    that normalising by percentiles divides by the largest value and does nothing else."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : case.height, 0 : case.width] / case.chip
    waves = np.sin(9 * x + 2 * y * y) * np.cos(14 * y - x) + 0.4 * np.sin(1.3 * x + 0.7 * y)
    grey = 0.5 + 0.45 * waves + random.normal(0, 0.12, x.shape)
    flecks = random.random(x.shape)
    grey[flecks < 0.02] = 0
    grey[flecks > 0.98] = 1
    return np.rint(grey.clip(0, 1) * (2**case.depth - 1)).astype(DEPTHS[case.depth])


def write_png(path: Path, samples: np.ndarray, level: int = 1) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in samples), level)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def corners_of(case: Case, seed: int) -> list[tuple[int, int]]:
    right, bottom = case.width - case.chip, case.height - case.chip
    grid = [(x, y) for y in range(0, bottom + 1, case.chip) for x in range(0, right + 1, case.chip)]
    random = np.random.default_rng(seed)
    anywhere = zip(random.integers(0, right + 1, ANYWHERE).tolist(), random.integers(0, bottom + 1, ANYWHERE).tolist())
    return [*grid[:: 1 + len(grid) // 60], *anywhere, (right, bottom)]


def ours(chipshot: str, encoder: Path, case: Case, corners: list[tuple[int, int]], folder: Path) -> np.ndarray:
    with open(folder / "chips.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "x", "y", "size", "label", "group"])
        rows.writerows(["image.png", x, y, case.chip, "a", "a"] for x, y in corners)
    command = [chipshot, "embed", "--manifest", folder / "chips.csv", "--root", folder, "--out", folder / "out.npy",
               "--encoder", encoder, "--encoding", "dense"]
    if case.input_size is not None:
        command += ["--input-size", str(case.input_size)]
    subprocess.run(command, check=True)
    return np.load(folder / "out.npy")


def doubts_of(maps: dict[int, dense.Stage]) -> dict[int, dense.Stage]:
    """What may become of values that lie where rounding turns, in place of the values; 0 of all others."""
    doubts = {}
    for number, stage in maps.items():
        error = UNSURE * float(stage.map.max())
        apart = dense.rounded(stage.map + error, number) - dense.rounded(stage.map - error, number)
        doubts[number] = dataclasses.replace(stage, map=apart)
    return doubts


def slack_of(stages: dict[int, dense.Stage], doubts: dict[int, dense.Stage], *window: float) -> np.ndarray:
    """What doubts are worth in the vector of a window, behind its stage 0: a mean shifts by theirs at most, a standard
    deviation by the root of their mean square."""
    parts = []
    for number in sorted(stages.keys() - {0}):
        mean, variance = stages[number].moments(*window)
        doubt, spread = doubts[number].moments(*window)
        seen = variance.any()  # not where the window sees a single position
        parts += [doubt / np.linalg.norm(mean),
                  np.sqrt((spread + doubt**2) / variance.sum()) if seen else np.zeros_like(doubt)]
    return np.concatenate(parts)


def reference(encoder: Path, case: Case, samples: np.ndarray, corners: list) -> tuple[np.ndarray, np.ndarray]:
    """Vectors, and how far each of their numbers may be off where rounding is in doubt."""
    network = Network(encoder, case.input_size)
    size = network.network.input_size
    grey = samples / np.float32(2**case.depth - 1)
    maps = dense.maps_of(network, dense.scaled(grey, size, (case.chip, case.chip)))
    stages, doubts = dense.kept(maps), doubts_of(maps)
    places = [(y * size / case.chip, x * size / case.chip) for x, y in corners]
    vectors = np.stack([dense.vector(stages, *place, network.network) for place in places])
    slack = np.stack([slack_of(stages, doubts, *place, size) for place in places])
    return vectors, np.pad(slack, ((0, 0), (vectors.shape[1] - slack.shape[1], 0)))


def compare(chipshot: str, encoder: Path, case: Case, seed: int, folder: Path) -> float:
    """The largest difference."""
    samples, corners = draw(case, seed), corners_of(case, seed)
    write_png(folder / "image.png", samples)
    got = ours(chipshot, encoder, case, corners, folder)
    wanted, slack = reference(encoder, case, samples, corners)
    if got.shape != wanted.shape:
        print(f"FAIL {case.about}: {got.shape[1]} dimensions, wanted {wanted.shape[1]}")
        return float("inf")
    apart = np.abs(got - wanted)
    worst = float((apart - slack).max())
    print(f"{'ok  ' if worst < LIMIT else 'FAIL'} dense, {encoder.stem}, {case.about}: largest difference {worst:.1e} "
          f"(with roundings in doubt {apart.max():.1e}; {len(corners)} chips, {got.shape[1]} dimensions)", flush=True)
    return worst


def main() -> int:
    chipshot, own = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        colour = folder / "resnet18.safetensors"
        model = published("resnet18")
        randomise(model, 5)
        write_safetensors(colour, quantise(model, "F32"), COLOUR)
        cases = [(own, case) for case in CASES["own"]] + [(colour, case) for case in CASES["resnet18"]]
        worst = [compare(chipshot, encoder, case, seed, folder) for seed, (encoder, case) in enumerate(cases)]
    print(f"dense encoding: largest difference {max(worst):.1e} of {len(worst)} images, less than {LIMIT:.0e} wanted")
    return 0 if max(worst) < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
