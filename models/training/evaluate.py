"""PyTorch reference of `chipshot evaluate`, to check the C engine against and to measure an encoder.

    CHIPSHOT_SHARED=../shared python3 models/training/evaluate.py [models/default.safetensors]

Measures only: nothing of the pipeline is fitted to these images.
"""
from __future__ import annotations

import csv
import json
import os
import random
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import export
from model import INPUT_SIZE, Encoder, embed, standardise

SHOTS, EPISODES, FEWEST = 5, 20, 12


def load_image(path: Path) -> Tensor:
    """Grey values at the native depth, stretched to 0..1 between the 0.5 and 99.5 percentiles of the whole image."""
    pixels = np.asarray(Image.open(path)).astype(np.float32)
    if pixels.ndim == 3:
        pixels = pixels[..., :3].mean(2)
    low, high = np.percentile(pixels, (0.5, 99.5))
    return torch.from_numpy(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1).astype(np.float32))


def chip(image: Tensor, x: int, y: int, size: int) -> Tensor:
    window = image[None, None, y : y + size, x : x + size]
    if size == INPUT_SIZE:
        return window[0]
    resized = F.interpolate(window, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False, antialias=True)
    return resized[0]


@torch.no_grad()
def encode(encoder: Encoder, chips: Tensor) -> Tensor:
    encoder.eval()
    return torch.cat([embed(encoder(part)) for part in chips.split(128)])


def recall(vectors: Tensor, labels: list[str], shots: dict[str, list[int]], asked: list[int]) -> tuple[float, float]:
    """Mean recall over classes, and accuracy, of the nearest prototype."""
    names = sorted(shots)
    prototypes = torch.stack([vectors[shots[name]].mean(0) for name in names])
    nearest = torch.cdist(vectors[asked], prototypes).argmin(1).tolist()
    right: dict[str, list[bool]] = defaultdict(list)
    for i, found in zip(asked, nearest):
        right[labels[i]].append(names[found] == labels[i])
    accuracy = sum(map(sum, right.values())) / len(asked)
    return sum(sum(r) / len(r) for r in right.values()) / len(right), accuracy


def task_score(encoder: Encoder, manifest: Path, seed: int = 0) -> float:
    images: dict[str, Tensor] = {}
    groups: dict[str, list[tuple[Tensor, str]]] = defaultdict(list)
    with open(manifest, newline="") as file:
        for row in csv.DictReader(file):
            if row["image"] not in images:
                images[row["image"]] = load_image(manifest.parent / row["image"])
            window = chip(images[row["image"]], int(row["x"]), int(row["y"]), int(row["size"]))
            groups[row["group"]].append((window, row["label"]))
    rng = random.Random(seed)
    scores = []
    for members in groups.values():
        vectors = standardise(encode(encoder, torch.stack([window for window, _ in members])))
        labels = [label for _, label in members]
        places: dict[str, list[int]] = defaultdict(list)
        for i, label in enumerate(labels):
            places[label].append(i)
        places = {label: where for label, where in places.items() if len(where) >= FEWEST}
        if len(places) < 2:
            continue
        episodes = []
        for _ in range(EPISODES):
            shots = {label: rng.sample(where, SHOTS) for label, where in sorted(places.items())}
            asked = [i for label, where in places.items() for i in where if i not in shots[label]]
            episodes.append(recall(vectors, labels, shots, asked)[0])
        scores.append(sum(episodes) / len(episodes))
    return sum(scores) / len(scores)


def sto_ge_score(encoder: Encoder, folder: Path) -> tuple[float, float]:
    """Accuracy on the clear chips and mean recall, from the 15 published example chips."""
    image = load_image(folder / "sto-ge-haadf.png")
    support = json.loads((folder / "support.json").read_text())
    size, side = support["chip"]["width"], 32
    grid = [(column * size, row * size) for row in range(side) for column in range(side)]
    vectors = standardise(encode(encoder, torch.stack([chip(image, x, y, size) for x, y in grid])))
    place = {corner: i for i, corner in enumerate(grid)}
    shots = {c["name"]: [place[e["x"], e["y"]] for e in c["examples"]] for c in support["classes"]}
    labels = [""] * len(grid)
    with open(folder / "clear-chips.csv", newline="") as file:
        for row in csv.DictReader(file):
            labels[place[int(row["x"]), int(row["y"])]] = row["label"]
    asked = [i for i, label in enumerate(labels) if label]
    mean_recall, accuracy = recall(vectors, labels, shots, asked)
    return accuracy, mean_recall


def report(encoder: Encoder, shared: Path) -> None:
    scores = {}
    for manifest in sorted((shared / "data" / "accuracy").glob("*.csv")):
        scores[manifest.stem] = task_score(encoder, manifest)
        print(f"{manifest.stem:20s} {scores[manifest.stem]:.3f}", flush=True)
    print(f"{'mean':20s} {sum(scores.values()) / len(scores):.3f}")
    accuracy, mean_recall = sto_ge_score(encoder, shared / "data" / "sto-ge")
    print(f"{'sto-ge clear chips':20s} {accuracy:.3f} (mean recall {mean_recall:.3f})")


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[1] / "default.safetensors"
    tensors, _ = export.read(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
    net = Encoder()
    missing = net.load_state_dict(tensors, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing), missing
    report(net, Path(os.environ.get("CHIPSHOT_SHARED", "../shared")))
