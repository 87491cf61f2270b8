"""How many objects are found, and how large they are, against drawn particles.

Usage: objects.py CHIPSHOT   (python3 with numpy and Pillow; make bench-objects)

Discs of 8 to 22 pixels' radius, some of which touch, are drawn on four kinds of background with noise, and classified with
five example chips of 32 pixels a class at a stride of 16: a particle's chip is covered by them by more than a third, a
background's not at all. Beside the objects of objects.csv stand the regions of the map (n_regions_8, area_fraction),
which is what there was before. An object is right if it holds the centre of one disc and no other's, and its area is
within a quarter of that disc's. Prints a table, means over the seeds; exits non-zero unless objects are nearer to the
truth than regions in number and in area on each background with contrast.
"""
from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, CHIP, N_DISCS, SEEDS = 1024, 32, 60, (1, 2, 3, 4)
# Contrast and noise in grey levels, what the background does
KINDS = {
    "bright": (70, 12, "level"),
    "dark": (-50, 12, "level"),
    "a wedge": (50, 8, "wedge"),
    "clouds": (60, 6, "clouds"),
    "near the noise": (24, 24, "level"),
}


def place_discs(random: np.random.Generator) -> list[tuple[float, float, float]]:
    """A third of them touch the one before."""
    discs: list[tuple[float, float, float]] = []
    while len(discs) < N_DISCS:
        radius = random.uniform(8, 22)
        if discs and len(discs) % 3 == 0:
            x, y, other = discs[-1]
            angle = random.uniform(0, 2 * np.pi)
            x, y = x + (other + radius - 2) * np.cos(angle), y + (other + radius - 2) * np.sin(angle)
        else:
            x, y = random.uniform(40, SIDE - 40, 2)
        near = discs[:-1] if discs and len(discs) % 3 == 0 else discs
        if 40 < x < SIDE - 40 and 40 < y < SIDE - 40 and all(
                np.hypot(x - a, y - b) > radius + r + 20 for a, b, r in near):
            discs.append((x, y, radius))
    return discs


def draw(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float, float]]]:
    contrast, noise, background = KINDS[kind]
    random = np.random.default_rng(seed)
    discs = place_discs(random)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    mask = np.zeros((SIDE, SIDE), bool)
    for a, b, radius in discs:
        mask |= np.hypot(x - a, y - b) <= radius
    grey = np.full((SIDE, SIDE), 110.0)
    if background == "wedge":
        grey += 60 * (x / SIDE - 0.5) + 30 * (y / SIDE - 0.5)
    if background == "clouds":
        grey += 12 * (np.sin(x / 31) * np.cos(y / 23) + np.sin((x + 2 * y) / 57))
    grey += contrast * mask + random.normal(0, noise, mask.shape)
    return np.clip(grey + 0.5, 0, 255).astype(np.uint8), mask, discs


def choose_examples(mask: np.ndarray, seed: int) -> dict:
    random = np.random.default_rng(1000 + seed)
    sums = np.pad(mask.astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    chosen: dict[str, list[dict[str, int]]] = {"background": [], "particle": []}
    while min(len(places) for places in chosen.values()) < 5:
        x, y = (int(value) for value in random.integers(0, SIDE - CHIP, 2))
        n = sums[y + CHIP, x + CHIP] - sums[y, x + CHIP] - sums[y + CHIP, x] + sums[y, x]
        name = "background" if n == 0 else "particle" if n > CHIP * CHIP / 3 else None
        if name and len(chosen[name]) < 5:
            chosen[name].append({"x": x, "y": y})
    return {"name": "drawn", "chip": {"width": CHIP, "height": CHIP},
            "classes": [{"name": name, "examples": places} for name, places in chosen.items()]}


def score(out: Path, discs: list[tuple[float, float, float]], mask: np.ndarray) -> dict[str, float]:
    with open(out / "objects.csv", newline="") as file:
        objects = [row for row in csv.DictReader(file) if row["class"] == "particle"]
    statistics = next(c for c in json.loads((out / "statistics.json").read_text())["classes"] if c["name"] == "particle")
    n_right = 0
    for row in objects:
        left, top = int(row["left"]), int(row["top"])
        right, bottom = left + int(row["width"]), top + int(row["height"])
        held = [disc for disc in discs if left <= disc[0] < right and top <= disc[1] < bottom]
        if len(held) == 1:
            n_right += abs(float(row["area_px"]) / (np.pi * held[0][2] ** 2) - 1) <= 0.25
    area = sum(float(row["area_px"]) for row in objects)
    return {"objects": len(objects), "right": n_right, "grey": sum(row["boundary"] == "grey" for row in objects),
            "area": area / mask.sum(), "regions": statistics["n_regions_8"],
            "region_area": statistics["area_fraction"] * SIDE * SIDE / mask.sum()}


def main() -> int:
    program, wrong = sys.argv[1], []
    print(f"{N_DISCS} discs a scene; areas are parts of the true one; means over {len(SEEDS)} scenes")
    print("| background | regions | their area | objects | right | by grey levels | their area |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind, (contrast, noise, _) in KINDS.items():
        scores = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as directory:
                place = Path(directory)
                grey, mask, discs = draw(kind, seed)
                Image.fromarray(grey).save(place / "image.png")
                (place / "support.json").write_text(json.dumps(choose_examples(mask, seed)))
                subprocess.run([program, "classify", "--image", place / "image.png", "--support", place / "support.json",
                                "--out", place / "out", "--stride", str(CHIP // 2), "--no-proposed-mask"], check=True)
                scores.append(score(place / "out", discs, mask))
        mean = {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
        print(f"| {kind} | {mean['regions']:.1f} | {mean['region_area']:.2f} | {mean['objects']:.1f} | {mean['right']:.1f} "
              f"| {mean['grey']:.1f} | {mean['area']:.2f} |", flush=True)
        better = (abs(mean["objects"] - N_DISCS) < abs(mean["regions"] - N_DISCS)
                  and abs(mean["area"] - 1) < abs(mean["region_area"] - 1))
        if abs(contrast) > 2 * noise and not better:
            wrong.append(kind)
    if wrong:
        print("regions are as near to the truth as objects: " + ", ".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
