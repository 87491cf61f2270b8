"""PyTorch reference of `chipshot evaluate`, to check the C engine against and to measure an encoder.

    CHIPSHOT_SHARED=../shared python3 models/training/evaluate.py [models/default.safetensors]
    python3 models/training/evaluate.py --manifest FILE.csv --root DIR [WEIGHTS]
    python3 models/training/evaluate.py --encoding chips ...    each chip alone, whatever the weights say
    python3 models/training/evaluate.py --drawn [WEIGHTS]       on drawn episodes that training never saw

Weights say themselves whether chips are encoded alone ("chips") or from maps of their image ("dense").
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import config as configs
import dense
import export
import train
from model import Encoder, embed, network_of, standardise

SHOTS, EPISODES, FEWEST = 5, 20, 12


@dataclass(frozen=True)
class Chip:
    """A square of an image; chips of one image share the tensor."""

    image: Tensor
    x: int
    y: int
    size: int

    def window(self) -> Tensor:
        return self.image[self.y : self.y + self.size, self.x : self.x + self.size]


# Turns the chips of a group into vectors, of which the nearest prototype decides.
Describe = Callable[[list[Chip]], Tensor]


def load_image(path: Path) -> Tensor:
    """Grey values at the native depth, stretched to 0..1 between the 0.5 and 99.5 percentiles of the whole image."""
    pixels = np.asarray(Image.open(path)).astype(np.float32)
    if pixels.ndim == 3:
        pixels = pixels[..., :3].mean(2)
    low, high = np.percentile(pixels, (0.5, 99.5))
    return torch.from_numpy(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1).astype(np.float32))


@torch.no_grad()
def encode_alone(encoder: Encoder, shown: list[Chip]) -> Tensor:
    """Standardised embeddings, by way of the encoder's input size."""
    encoder.eval()
    windows = [chip.window() for chip in shown]
    size = (encoder.network.input_size,) * 2
    chips = [
        F.interpolate(w[None, None], size, mode="bilinear", align_corners=False, antialias=True)[0]
        if w.shape != size else w[None]
        for w in windows
    ]
    return standardise(torch.cat([embed(encoder(part), encoder.network.chip_copies) for part in torch.stack(chips).split(128)]))


def encode_dense(encoder: Encoder, shown: list[Chip]) -> Tensor:
    """Standardised embeddings, from maps of the whole images."""
    by_image: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, chip in enumerate(shown):
        by_image[id(chip.image), chip.size].append(i)
    vectors: list[Tensor] = [torch.empty(0)] * len(shown)
    for (_, size), members in by_image.items():
        corners = [(shown[i].x, shown[i].y) for i in members]
        image = shown[members[0]].image.numpy()
        for i, found in zip(members, dense.embed_image(encoder, image, (size, size), corners)):
            vectors[i] = found
    return standardise(torch.stack(vectors))


def mean_and_std(shown: list[Chip]) -> Tensor:
    """Standardised, but not to unit length, which would leave one number of the two."""
    windows = [chip.window() for chip in shown]
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
    groups: dict[str, list[tuple[Chip, str]]] = defaultdict(list)
    with open(manifest, newline="") as file:
        for row in csv.DictReader(file):
            if row["image"] not in images:
                images[row["image"]] = load_image(root / row["image"])
            x, y, size = (int(row[key]) for key in ("x", "y", "size"))
            groups[row["group"]].append((Chip(images[row["image"]], x, y, size), row["label"]))
    rng = random.Random(seed)
    scores = []
    for members in groups.values():
        vectors = describe([chip for chip, _ in members])
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
    vectors = describe([Chip(image, x, y, size) for x, y in grid])
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


def load(path: Path) -> tuple[Encoder, str]:
    """The encoder, and how the file says it is used."""
    tensors, described = export.read(path)
    encoder = Encoder(network_of(tensors, described))
    missing = encoder.load_state_dict(tensors, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing), missing
    return encoder, described.get("encoding", "chips")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "default.safetensors"
    parser.add_argument("weights", nargs="?", default=default, help="a file, or mean-std")
    parser.add_argument("--manifest", type=Path, help="CSV with the columns image,x,y,size,label,group")
    parser.add_argument("--drawn", action="store_true", help="score on drawn episodes")
    parser.add_argument("--encoding", choices=("chips", "dense"), help="instead of what the weights say")
    parser.add_argument("--root", type=Path, help="directory that the manifest's images are relative to")
    options = parser.parse_args()
    if options.drawn:
        return report_drawn(load(Path(options.weights))[0])
    describe: Describe = mean_and_std
    if options.weights != "mean-std":
        encoder, encoding = load(Path(options.weights))
        describe = functools.partial({"chips": encode_alone, "dense": encode_dense}[options.encoding or encoding],
                                     encoder)
    if options.manifest:
        print(f"{task_score(describe, options.manifest, options.root or options.manifest.parent):.4f}")
    else:
        report(describe, Path(os.environ.get("CHIPSHOT_SHARED", "../shared")))


if __name__ == "__main__":
    main()
