"""What else the classifier could do with the default encoder's vectors: `make variants`.

Usage: variants.py CHIPSHOT DOCUMENT. Scores variants of the nearest prototype on the labelled micrographs of
CHIPSHOT_SHARED (skipped, saying so, when they are absent) and writes the table between its marks in DOCUMENT.
All variants get the same draws, so that small differences mean something: each is given with the default's score
subtracted, and with the standard error of that difference over groups and draws.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Callable

import numpy as np

import data
from methods import draw_shots, mean_recall, scale, squared_distances, standardise

SHOTS = (2, 5, 10)
DRAWS = 40
BEGIN, END = "<!-- variants: begin, written by make variants -->", "<!-- variants: end -->"
TINY = 1e-12
DEFAULT = Path(__file__).resolve().parents[1] / "default.safetensors"

Classify = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# A group's features: name -> chips x dimensions, what does not depend on the examples done already.
Features = dict[str, np.ndarray]


def copies_of(path: Path) -> list[int]:
    """How many copies of stage 0's numbers, mean and contrast, a vector begins with."""
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return json.loads(header["__metadata__"]["chipshot"])["pool"].get("chip_copies", [48, 64])


MEAN_COPIES, CONTRAST_COPIES = copies_of(DEFAULT)


def class_means(x: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([x[shots[labels == k]].mean(0) for k in range(labels.max() + 1)])


def scatter(x: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of each dimension between the classes' means, and within the classes, of the examples."""
    means = class_means(x, shots, labels)
    within = ((x[shots] - means[labels]) ** 2).sum(0) / max(len(shots) - len(means), 1)
    return means.var(0, ddof=1), within


def nearest(x: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return squared_distances(x, class_means(x, shots, labels)).argmin(1)


def fisher(x: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Dimensions weighted by how well the examples' classes differ in them."""
    between, within = scatter(x, shots, labels)
    return nearest(x * between / (between + within + TINY), shots, labels)


def within_class(x: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Dimensions divided by the deviation within classes, shrunk half way to that of all chips: a diagonal
    Mahalanobis distance."""
    _, within = scatter(x, shots, labels)
    return nearest(x / np.sqrt(within + x.var(0) + TINY), shots, labels)


def unbiased(x: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Less what the prototype's own uncertainty adds to a squared distance, which penalises varied classes."""
    means = class_means(x, shots, labels)
    counts = np.bincount(labels)
    spread = [((x[shots[labels == k]] - mean) ** 2).sum() for k, mean in enumerate(means)]
    return (squared_distances(x, means) - np.array(spread) / (counts * np.maximum(counts - 1, 1))).argmin(1)


def whitened(x: np.ndarray, power: float) -> np.ndarray:
    """Principal axes over the group's chips divided by their deviation to the power; 1 whitens."""
    u, sizes, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    kept = sizes > 1e-6 * sizes[0]
    y = u[:, kept] * (sizes[kept] / sizes[0]) ** (1 - power)
    return y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-30)


def with_copies(group: data.Group, *numbers: tuple[np.ndarray, float]) -> np.ndarray:
    """The default's vector with these numbers of the chip instead of those of stage 0, each so many times."""
    copies = [np.repeat(number[:, None], round(n), 1) for number, n in numbers]
    return standardise(np.hstack([*copies, group.embeddings[:, MEAN_COPIES + CONTRAST_COPIES :]]))


def features_of(group: data.Group, small: np.ndarray) -> Features:
    pixels = np.array([[c.mean(), c.std()] for c in group.chips])
    mean, contrast = group.embeddings[:, 0], group.embeddings[:, MEAN_COPIES]
    x = standardise(group.embeddings)
    return {
        "x": x, "not scaled to length 1": scale(group.embeddings.astype(np.float64)),
        "whitened 0.2": whitened(x, 0.2), "whitened 0.4": whitened(x, 0.4),
        **{f"copies x {times}": with_copies(group, (mean, MEAN_COPIES * times), (contrast, CONTRAST_COPIES * times))
           for times in (0, 0.5, 2)},
        "mean": with_copies(group, (mean, MEAN_COPIES)), "contrast": with_copies(group, (contrast, CONTRAST_COPIES)),
        "pixels": with_copies(group, (mean, MEAN_COPIES), (pixels[:, 1], CONTRAST_COPIES)),
        "two": standardise(np.hstack([group.embeddings, small[group.rows]])),
        "chip": scale(pixels),
    }


VARIANTS: list[tuple[str, str, Classify]] = [
    ("default: standardised, length 1, nearest class mean", "x", nearest),
    ("not scaled to length 1", "not scaled to length 1", nearest),
    ("dimensions weighted by Fisher's ratio of the examples", "x", fisher),
    ("diagonal Mahalanobis distance, shrunk", "x", within_class),
    ("without the prototypes' own uncertainty", "x", unbiased),
    ("principal axes divided by their deviation to the power 0.2", "whitened 0.2", nearest),
    ("the same, 0.4", "whitened 0.4", nearest),
    ("without stage 0, the chip itself", "copies x 0", nearest),
    ("half as many copies of stage 0's numbers", "copies x 0.5", nearest),
    ("twice as many", "copies x 2", nearest),
    ("of stage 0 its mean only", "mean", nearest),
    ("its slow contrast only", "contrast", nearest),
    ("the deviation of all pixels instead of the slow contrast", "pixels", nearest),
    ("with a second input of 24 px", "two", nearest),
    ("the chip's mean and std alone", "chip", nearest),
]


def score(task: data.Task, small: np.ndarray) -> np.ndarray:
    """Variants x shots x (groups x draws); a group too small for a number of shots is NaN there."""
    scores = np.full((len(VARIANTS), len(SHOTS), len(task.groups), DRAWS), np.nan)
    for g, group in enumerate(task.groups):
        features = features_of(group, small)
        for s, n in enumerate(SHOTS):
            if n + 2 > group.smallest_class:
                continue
            for draw in range(DRAWS):
                shots = draw_shots(group.labels, n, draw)
                for v, (_, name, classify) in enumerate(VARIANTS):
                    found = classify(features[name], shots, group.labels[shots])
                    scores[v, s, g, draw] = mean_recall(found, group.labels, shots)
    return scores.reshape(len(VARIANTS), len(SHOTS), -1)


def table(tasks: list[data.Task], scores: list[np.ndarray]) -> str:
    """The tasks' means with 5 examples, and the mean over tasks of the difference from the default."""
    middle = SHOTS.index(5)
    head = ["classifier", *(task.name for task in tasks), "mean", *(f"less default, {n}" for n in SHOTS)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for v, (name, _, _) in enumerate(VARIANTS):
        means = [float(np.nanmean(s[v, middle])) for s in scores]
        cells = [name, *(f"{mean:.4f}" for mean in means), f"{np.mean(means):.4f}"]
        for i in range(len(SHOTS)):
            less = [s[v, i] - s[0, i] for s in scores]
            less = [d[~np.isnan(d)] for d in less]
            error = np.sqrt(sum(d.var(ddof=1) / len(d) for d in less)) / len(less)
            cells.append("" if v == 0 else f"{np.mean([d.mean() for d in less]):+.4f} ± {error:.4f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([f"Balanced accuracy with 5 examples a class, {DRAWS} draws; and the mean over the tasks of the "
                      f"difference from the default with {', '.join(map(str, SHOTS))} examples, ± its standard error "
                      "over groups and draws.", "", *lines])


def main() -> None:
    chipshot, document = Path(sys.argv[1]), Path(sys.argv[2])
    shared = Path(os.environ.get("CHIPSHOT_SHARED", "../shared"))
    tasks = data.shared_tasks(shared)
    if not tasks:
        print(f"skipped: no labelled micrographs in {shared}/data/accuracy (set CHIPSHOT_SHARED)")
        return
    scores = []
    with tempfile.TemporaryDirectory() as work:
        for task in tasks:
            data.embed_task(chipshot, task, Path(work))
            small, _ = data.embed(chipshot, task.manifest, task.root, Path(work) / "small.npy", "--input-size", "24")
            scores.append(score(task, small))
            print(task.name, f"{np.nanmean(scores[-1][0, SHOTS.index(5)]):.4f}", flush=True)
    before, rest = document.read_text().split(BEGIN)
    document.write_text(before + BEGIN + "\n\n" + table(tasks, scores) + "\n\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
