"""PyTorch reference of `chipshot evaluate`, to check the C engine against and to measure an encoder.

    CHIPSHOT_SHARED=../shared python3 models/training/evaluate.py [models/default.safetensors]
    python3 models/training/evaluate.py --manifest FILE.csv --root DIR [WEIGHTS]
    python3 models/training/evaluate.py --drawn [WEIGHTS]       on drawn episodes that training never saw

Measures only: nothing of the pipeline is fitted to these images. The word mean-std in place of WEIGHTS measures the
baseline that an encoder must beat: mean and standard deviation of the chip's grey values. The random shots are not
those of `chipshot evaluate`; a task's score differs by up to 0.015, the mean of the tasks by 0.003.
"""
from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import config as configs
import export
import train
from model import Encoder, embed, network_of, standardise

SHOTS, EPISODES, FEWEST = 5, 20, 12

# Turns the chips of a group into vectors, of which the nearest prototype decides.
Describe = Callable[[list[Tensor]], Tensor]


def load_image(path: Path) -> Tensor:
    """Grey values at the native depth, stretched to 0..1 between the 0.5 and 99.5 percentiles of the whole image."""
    pixels = np.asarray(Image.open(path)).astype(np.float32)
    if pixels.ndim == 3:
        pixels = pixels[..., :3].mean(2)
    low, high = np.percentile(pixels, (0.5, 99.5))
    return torch.from_numpy(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1).astype(np.float32))


@torch.no_grad()
def encode(encoder: Encoder, windows: list[Tensor]) -> Tensor:
    """Windows (height, width) to standardised embeddings, by way of the encoder's input size."""
    encoder.eval()
    size = (encoder.network.input_size,) * 2
    chips = [
        F.interpolate(w[None, None], size, mode="bilinear", align_corners=False, antialias=True)[0]
        if w.shape != size else w[None]
        for w in windows
    ]
    return standardise(torch.cat([embed(encoder(part)) for part in torch.stack(chips).split(128)]))


def mean_and_std(windows: list[Tensor]) -> Tensor:
    """Standardised, but not to unit length, which would leave one number of the two."""
    vectors = torch.stack([torch.stack((w.mean(), w.std(unbiased=False))) for w in windows])
    return (vectors - vectors.mean(0)) / (vectors.std(0, unbiased=False) + 1e-6)


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


def task_score(describe: Describe, manifest: Path, root: Path, seed: int = 0) -> float:
    images: dict[str, Tensor] = {}
    groups: dict[str, list[tuple[Tensor, str]]] = defaultdict(list)
    with open(manifest, newline="") as file:
        for row in csv.DictReader(file):
            if row["image"] not in images:
                images[row["image"]] = load_image(root / row["image"])
            x, y, size = (int(row[key]) for key in ("x", "y", "size"))
            window = images[row["image"]][y : y + size, x : x + size]
            groups[row["group"]].append((window, row["label"]))
    rng = random.Random(seed)
    scores = []
    for members in groups.values():
        vectors = describe([window for window, _ in members])
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


def sto_ge_score(describe: Describe, folder: Path) -> tuple[float, float]:
    """Accuracy on the clear chips and mean recall, from the 15 published example chips."""
    image = load_image(folder / "sto-ge-haadf.png")
    support = json.loads((folder / "support.json").read_text())
    size, side = support["chip"]["width"], 32
    grid = [(column * size, row * size) for row in range(side) for column in range(side)]
    vectors = describe([image[y : y + size, x : x + size] for x, y in grid])
    place = {corner: i for i, corner in enumerate(grid)}
    shots = {c["name"]: [place[e["x"], e["y"]] for e in c["examples"]] for c in support["classes"]}
    labels = [""] * len(grid)
    with open(folder / "clear-chips.csv", newline="") as file:
        for row in csv.DictReader(file):
            labels[place[int(row["x"]), int(row["y"])]] = row["label"]
    asked = [i for i, label in enumerate(labels) if label]
    mean_recall, accuracy = recall(vectors, labels, shots, asked)
    return accuracy, mean_recall


def report(describe: Describe, shared: Path) -> None:
    root, scores = shared / "data" / "accuracy", []
    if not root.is_dir():
        raise SystemExit(f"{root} is absent (set CHIPSHOT_SHARED)")
    for manifest in sorted(root.glob("*.csv")):
        scores.append(task_score(describe, manifest, root))
        print(f"{manifest.stem:20s} {scores[-1]:.4f}", flush=True)
    print(f"{'mean':20s} {sum(scores) / len(scores):.4f}")
    accuracy, mean_recall = sto_ge_score(describe, shared / "data" / "sto-ge")
    print(f"{'sto-ge clear chips':20s} {accuracy:.4f} (mean recall {mean_recall:.4f})")


def report_drawn(encoder: Encoder) -> None:
    """At several input sizes: what chips of all drawn sizes want, which the micrographs do not say."""
    for side in (32, 48, 64, 96):
        choices = configs.load(configs.DEFAULT, [f"episode.input_sizes=[{side}]"])
        every, within = train.validate(encoder, choices, torch.device("cpu"))
        print(f"{side} px: right {every:.3f}, within an image {within:.3f}", flush=True)


def load(path: Path) -> Encoder:
    tensors, described = export.read(path)
    encoder = Encoder(network_of(tensors, described))
    missing = encoder.load_state_dict(tensors, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing), missing
    return encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "default.safetensors"
    parser.add_argument("weights", nargs="?", default=default, help="a file, or mean-std")
    parser.add_argument("--manifest", type=Path, help="CSV with the columns image,x,y,size,label,group")
    parser.add_argument("--drawn", action="store_true", help="score on drawn episodes")
    parser.add_argument("--root", type=Path, help="directory that the manifest's images are relative to")
    options = parser.parse_args()
    if options.drawn:
        return report_drawn(load(Path(options.weights)))
    describe = mean_and_std if options.weights == "mean-std" else functools.partial(encode, load(Path(options.weights)))
    if options.manifest:
        print(f"{task_score(describe, options.manifest, options.root or options.manifest.parent):.4f}")
    else:
        report(describe, Path(os.environ.get("CHIPSHOT_SHARED", "../shared")))


if __name__ == "__main__":
    main()
