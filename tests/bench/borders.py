"""How near the label map comes to the borders between classes, with touching and with overlapping windows.

Usage: borders.py CHIPSHOT [CLASSIFY OPTION...]   (python3 with numpy and Pillow; make bench-borders)

Drawn scenes, of which the class of each pixel is known, are classified with their five examples a class at a stride of
the chip's size (the coarse map) and of a quarter of it (the fine one). Each pixel takes the label of the cell that
covers it, which is read off the `map` of statistics.json; and the one that labels-image.png has, where probabilities are
interpolated between the cells' centres (smooth). Scored are all pixels, and those near a border: the square
of a chip's side around one holds another class. Beside the maps stands what the fine one would be if each pixel took
the label of the window with the nearest centre. Then the mean over the classes of the intersection over union of map
and truth. Exits non-zero unless the fine map is better than the coarse one near the borders of each kind of scene, and
the smooth maps better than those of cells in the mean intersection over union.
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


def smooth_map(folder: Path) -> np.ndarray:
    labels = np.asarray(Image.open(folder / "labels-image.png")).astype(int)
    return np.where(labels == 255, -1, labels)


def mean_iou(labels: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([((labels == k) & (truth == k)).sum() / ((labels == k) | (truth == k)).sum()
                          for k in np.unique(truth)]))


def scores(chipshot: str, scene: Scene, options: list[str]) -> tuple[list[float], list[float]]:
    """Shares of right pixels near a border and of all, then mean IoU: coarse, its smooth map, nearest, fine, smooth."""
    coarse, fine = (classify(chipshot, scene, stride, options) for stride in (scene.chip, scene.chip // FINER))
    shape = scene.truth.shape
    maps = [label_map(coarse, shape), smooth_map(coarse), nearest_windows(scene, fine), label_map(fine, shape),
            smooth_map(fine)]
    shares = [float((labels == scene.truth)[where].mean()) for where in (scene.near, ...) for labels in maps]
    return shares, [mean_iou(labels, scene.truth) for labels in maps]


NAMES = ("coarse", "coarse, smooth", "nearest", "fine", "fine, smooth")


def print_table(title: str, rows: list[tuple[str, object, str, list[float]]], kinds: tuple[str, ...]) -> None:
    columns = [f"{kind}{': ' if kind else ''}{name}" for kind in kinds for name in NAMES]
    print(f"{title}\n\n| scene | seed | pixels near a border | " + " | ".join(columns) + " |")
    print("| --- | ---: | ---: |" + " ---: |" * len(columns))
    for scene, seed, near, row in rows:
        print(f"| {scene} | {seed} | {near} | " + " | ".join(f"{value:.4f}" for value in row) + " |", flush=True)
    print()


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    chipshot, options = sys.argv[1], sys.argv[2:]
    faults, tables, means = [], ([], []), ([], [])
    with tempfile.TemporaryDirectory() as work:
        for name in SCENES:
            found: tuple[list, list] = ([], [])
            for seed in SEEDS:
                scene = draw(chipshot, name, seed, Path(work) / f"{name}-{seed}")
                for table, rows, row in zip(tables, found, scores(chipshot, scene, options)):
                    rows.append(row)
                    table.append((name, seed, f"{scene.near.mean():.1%}", row))
            for table, mean, rows in zip(tables, means, found):
                mean.append(np.mean(rows, axis=0))
                table.append((name, "mean", "", mean[-1]))
            if means[0][-1][3] <= means[0][-1][0]:
                faults.append(f"the fine map is not better near the borders of {name}")
    for table, mean in zip(tables, means):
        table.append(("mean", "", "", np.mean(mean, axis=0)))
    print_table("Right pixels", tables[0], ("near", "all"))
    print_table("Mean intersection over union", tables[1], ("",))
    coarse, coarse_smooth, _, fine, fine_smooth = tables[1][-1][3]
    if coarse_smooth <= coarse or fine_smooth <= fine:
        faults.append("a smooth map is not better than that of cells")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
