"""How near the label map comes to the borders between classes, with touching and with overlapping windows.

Usage: borders.py CHIPSHOT [CLASSIFY OPTION...]   (python3 with numpy and Pillow; make bench-borders)

Drawn scenes, of which the class of each pixel is known, are classified with their five examples a class at a stride of
the chip's size (the coarse map) and of a quarter of it (the fine one). Each pixel takes the label of the cell that
covers it, which is read off the `map` of statistics.json. Scored are all pixels, and those near a border: the square
of a chip's side around one holds another class. Beside the maps stands what the fine one would be if each pixel took
the label of the window with the nearest centre. Exits non-zero unless the fine map is better than the coarse one near
the borders of each kind of scene.
"""
from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SCENES = ("perovskite-on-diamond", "ordered-oxide")
SEEDS = (1, 2, 3, 4)
FINER = 4  # the fine stride is this part of a chip


@dataclass
class Scene:
    folder: Path
    chip: int
    classes: list[str]
    truth: np.ndarray  # of each pixel, its class
    near: np.ndarray  # of each pixel, whether it is near a border


def near_borders(truth: np.ndarray, side: int) -> np.ndarray:
    """Where the square of `side` pixels around a pixel, cut at the image's edge, holds another class than its own."""
    reach = side // 2
    height, width = truth.shape
    top, bottom = (np.clip(np.arange(height) + by, 0, height) for by in (-reach, reach + 1))
    left, right = (np.clip(np.arange(width) + by, 0, width) for by in (-reach, reach + 1))
    area = np.outer(bottom - top, right - left)
    near = np.zeros(truth.shape, bool)
    for label in np.unique(truth):
        sums = np.zeros((height + 1, width + 1), np.int64)
        sums[1:, 1:] = (truth == label).cumsum(0).cumsum(1)
        rows = sums[bottom] - sums[top]
        near |= (truth == label) & (rows[:, right] - rows[:, left] < area)
    return near


def cell_of_pixels(described: dict, axis: str, size: str, n_cells: int, n_pixels: int) -> np.ndarray:
    """The cell that covers each pixel of an axis; -1: none. The scenes are whole chips: no window is shifted."""
    at = np.arange(n_pixels) - described["origin"][axis]
    cell, within = np.divmod(at, described["step"][axis])
    covered = (at >= 0) & (within < described["cell"][size]) & (np.arange(n_pixels) < described["end"][axis])
    return np.where(covered & (cell < n_cells), cell, -1)


def label_map(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """The labels of the image's pixels; -1: not covered."""
    described = json.loads((folder / "statistics.json").read_text())["map"]
    labels = np.asarray(Image.open(folder / "labels.png")).astype(int)
    if labels.shape != (described["rows"], described["columns"]):
        raise SystemExit(f"borders.py: labels.png has {labels.shape} cells, statistics.json says {described}")
    rows = cell_of_pixels(described, "y", "height", described["rows"], shape[0])
    columns = cell_of_pixels(described, "x", "width", described["columns"], shape[1])
    laid = labels[rows][:, columns]
    laid[rows < 0] = -1
    laid[:, columns < 0] = -1
    return laid


def nearest_windows(scene: Scene, folder: Path) -> np.ndarray:
    """The label of the window whose centre is nearest to each pixel."""
    lines = list(csv.DictReader((folder / "labels.csv").open()))
    labels = np.array([scene.classes.index(line["label"]) for line in lines])
    index = []
    for axis, n_pixels in zip("yx", scene.truth.shape):
        centres = np.array(sorted({int(line[axis]) for line in lines})) + scene.chip / 2
        between = (centres[1:] + centres[:-1]) / 2
        index.append(np.searchsorted(between, np.arange(n_pixels) + 0.5))
    return labels.reshape(-1, len({line["x"] for line in lines}))[index[0]][:, index[1]]


def draw(chipshot: str, name: str, seed: int, folder: Path) -> Scene:
    subprocess.run([chipshot, "simulate", "--scene", name, "--seed", str(seed), "--out", folder], check=True)
    support = json.loads((folder / "support.json").read_text())
    truth = np.asarray(Image.open(folder / "truth.png")).astype(int)
    chip = support["chip"]["width"]
    return Scene(folder, chip, [c["name"] for c in support["classes"]], truth, near_borders(truth, chip))


def classify(chipshot: str, scene: Scene, stride: int, options: list[str]) -> Path:
    out = scene.folder / f"stride-{stride}"
    subprocess.run([chipshot, "classify", "--image", scene.folder / "image.png", "--support",
                    scene.folder / "support.json", "--out", out, "--stride", str(stride), *options], check=True)
    return out


def scores(chipshot: str, scene: Scene, options: list[str]) -> list[float]:
    """Shares of right pixels: near a border coarse, nearest, fine, then the same of all pixels."""
    coarse, fine = (classify(chipshot, scene, stride, options) for stride in (scene.chip, scene.chip // FINER))
    maps = [label_map(coarse, scene.truth.shape), nearest_windows(scene, fine), label_map(fine, scene.truth.shape)]
    return [float((labels == scene.truth)[where].mean()) for where in (scene.near, ...) for labels in maps]


def print_row(scene: str, seed: object, near: str, row: list[float]) -> None:
    print(f"| {scene} | {seed} | {near} | " + " | ".join(f"{value:.4f}" for value in row) + " |", flush=True)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    chipshot, options = sys.argv[1], sys.argv[2:]
    print("| scene | seed | pixels near a border | near: coarse | nearest | fine | all: coarse | nearest | fine |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    worse, means = [], []
    with tempfile.TemporaryDirectory() as work:
        for name in SCENES:
            rows = []
            for seed in SEEDS:
                scene = draw(chipshot, name, seed, Path(work) / f"{name}-{seed}")
                rows.append(scores(chipshot, scene, options))
                print_row(name, seed, f"{scene.near.mean():.1%}", rows[-1])
            means.append(np.mean(rows, axis=0))
            print_row(name, "mean", "", means[-1])
            if means[-1][2] <= means[-1][0]:
                worse.append(name)
    print_row("mean", "", "", np.mean(means, axis=0))
    if worse:
        print(f"the fine map is not better near the borders of {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
