"""What neighbours are worth on the labelled micrographs: `/usr/bin/python3 models/study/smoothing.py build/chipshot`.

Prints, for each task of CHIPSHOT_SHARED, the balanced accuracy of nearest prototypes and how far `smoothing`, as
engine/fewshot/smoothing.h says it, moves that. Chips are neighbours where the task has labels for both: mixed chips and
others are missing, so that a chip has 1 to 5 neighbours here and 8 in a job.
"""

import csv
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import data
from methods import draw_shots, mean_recall, squared_distances, standardise

SHOTS, DRAWS = (2, 5, 10), 24
SHARE = 0.4  # of the variance within classes: the temperature
GATE, PSEUDO_PAIRS = 0.4, 20


def places(task: data.Task) -> list[tuple[str, int, int, int]]:
    with open(task.manifest, newline="") as file:
        return [(row["image"], int(row["x"]), int(row["y"]), int(row["size"])) for row in csv.DictReader(file)]


def neighbours(chips: list[tuple[str, int, int, int]]) -> np.ndarray:
    """Chips x chips: 1 for those side by side or across, 0 for others."""
    index = {chip[:3]: i for i, chip in enumerate(chips)}
    beside = np.zeros((len(chips), len(chips)))
    for i, (image, x, y, size) in enumerate(chips):
        for dx in (-size, 0, size):
            for dy in (-size, 0, size):
                j = index.get((image, x + dx, y + dy))
                if j is not None and j != i:
                    beside[i, j] = 1
    return beside


def pairs(beside: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """How many pairs there are, the joint distribution of their classes, its marginals."""
    joint = y.T @ beside @ y / 2
    n = joint.sum()
    joint = joint / max(n, 1e-12)
    return n, joint, joint.sum(0)


def information(beside: np.ndarray, labels: np.ndarray, n_classes: int) -> float:
    _, joint, m = pairs(beside, np.eye(n_classes)[labels])
    there = joint > 0
    entropy = -(m[m > 0] * np.log(m[m > 0])).sum()
    mutual = (joint[there] * np.log(joint[there] / np.outer(m, m)[there])).sum()
    return mutual / entropy if entropy > 0 else 0.0


def softmax(u: np.ndarray) -> np.ndarray:
    e = np.exp(u - u.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def smooth(beside: np.ndarray, u: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    y, known = softmax(u), np.eye(u.shape[1])[labels]
    y[shots] = known
    for _ in range(3):
        n, joint, m = pairs(beside, y)
        independent = np.outer(m, m)
        found = (n * joint + PSEUDO_PAIRS * independent) / (n + PSEUDO_PAIRS)
        affinity = np.where(independent > 0, 0.5 * np.log(np.maximum(found, 1e-300) / np.maximum(independent, 1e-300)), 0)
        for _ in range(6):
            y = y / 2 + softmax(u + beside @ y @ affinity) / 2
            y[shots] = known
    return y


def score(group: data.Group, beside: np.ndarray, n: int, draw: int) -> tuple[float, float, float]:
    """Balanced accuracy without smoothing, with `auto` and with `on`."""
    x, shots = standardise(group.embeddings), draw_shots(group.labels, n, draw)
    labels = group.labels[shots]
    means = np.stack([x[shots[labels == k]].mean(0) for k in range(group.n_classes)])
    variance = ((x[shots] - means[labels]) ** 2).sum() / (len(shots) - len(means))
    u = -squared_distances(x, means) / (SHARE * variance)
    plain = mean_recall(u.argmax(1), group.labels, shots)
    on = mean_recall(smooth(beside, u, shots, labels).argmax(1), group.labels, shots)
    return plain, on if information(beside, u.argmax(1), group.n_classes) > GATE else plain, on


def main() -> None:
    chipshot, shared = Path(sys.argv[1]), Path(os.environ.get("CHIPSHOT_SHARED", "../shared"))
    print("| task | examples a class | without | auto | on |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for task in data.shared_tasks(shared):
            data.embed_task(chipshot, task, Path(work))
            where = places(task)
            maps = [neighbours([where[row] for row in group.rows]) for group in task.groups]
            for n in SHOTS:
                scores = np.mean([score(group, beside, n, draw) for group, beside in zip(task.groups, maps)
                                  for draw in range(DRAWS) if n + 2 <= group.smallest_class], axis=0)
                print(f"| {task.name} | {n} | {scores[0]:.4f} | {scores[1] - scores[0]:+.4f} | "
                      f"{scores[2] - scores[0]:+.4f} |", flush=True)


if __name__ == "__main__":
    main()
