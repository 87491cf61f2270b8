"""How near the label map comes to the borders between classes, with touching and with overlapping windows.

Usage: borders.py CHIPSHOT [CLASSIFY OPTION...]   (python3 with numpy and Pillow; make bench-borders)

Drawn scenes, of which the class of each pixel is known, are classified with their five examples a class at a stride of
the chip's size (the coarse map) and of a quarter of it (the fine one). Each pixel takes the label of the cell that
covers it, which is read off the `map` of statistics.json. Scored are all pixels, and those near a border: the square of a
chip's side around one holds another class. Exits non-zero unless the fine map is better near the borders of each
kind of scene.
"""
from __future__ import annotations

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
class Score:
    near: float  # share of right pixels near a border
    all: float


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


def score(chipshot: str, folder: Path, stride: int, near: np.ndarray, truth: np.ndarray, options: list[str]) -> Score:
    out = folder / f"stride-{stride}"
    subprocess.run([chipshot, "classify", "--image", folder / "image.png", "--support", folder / "support.json", "--out",
                    out, "--stride", str(stride), *options], check=True)
    right = label_map(out, truth.shape) == truth
    return Score(float(right[near].mean()), float(right.mean()))


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    chipshot, options = sys.argv[1], sys.argv[2:]
    print("| scene | seed | near a border | coarse | fine | all pixels | coarse | fine |")
    print("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    worse = []
    means = []
    with tempfile.TemporaryDirectory() as work:
        for scene in SCENES:
            scores = []
            for seed in SEEDS:
                folder = Path(work) / f"{scene}-{seed}"
                subprocess.run([chipshot, "simulate", "--scene", scene, "--seed", str(seed), "--out", folder], check=True)
                chip = json.loads((folder / "support.json").read_text())["chip"]["width"]
                truth = np.asarray(Image.open(folder / "truth.png")).astype(int)
                near = near_borders(truth, chip)
                coarse, fine = (score(chipshot, folder, stride, near, truth, options) for stride in (chip, chip // FINER))
                scores.append((coarse.near, fine.near, coarse.all, fine.all))
                print(f"| {scene} | {seed} | {near.mean():.1%} of pixels | {coarse.near:.4f} | {fine.near:.4f} | | "
                      f"{coarse.all:.4f} | {fine.all:.4f} |", flush=True)
            mean = np.mean(scores, axis=0)
            means.append(mean)
            if mean[1] <= mean[0]:
                worse.append(scene)
            print(f"| {scene} | mean | | {mean[0]:.4f} | {mean[1]:.4f} | | {mean[2]:.4f} | {mean[3]:.4f} |")
    total = np.mean(means, axis=0)
    print(f"| mean | | | {total[0]:.4f} | {total[1]:.4f} | | {total[2]:.4f} | {total[3]:.4f} |")
    if worse:
        print(f"the fine map is not better near the borders of {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
