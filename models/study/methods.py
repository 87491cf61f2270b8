"""The classifiers that are compared, each as a function of features and labelled examples.

All of them see what a user has: the features of all chips of the group (no labels), and the labels
of the examples. `predict(features, shots, labels)` gives a class number for every chip.
"""

import numpy as np
import torch

STD_FLOOR = 1e-6  # as in engine/fewshot/transform.c
LOGISTIC_C = 10.0


def standardise(vectors: np.ndarray) -> np.ndarray:
    """Each dimension to mean 0 and deviation 1 over the group's chips, then each vector to length 1."""
    vectors = vectors.astype(np.float64)
    z = (vectors - vectors.mean(0)) / (vectors.std(0) + STD_FLOOR)
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-30)


def scale(features: np.ndarray) -> np.ndarray:
    return (features - features.mean(0)) / (features.std(0) + STD_FLOOR)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * a).sum(1)[:, None] - 2 * a @ b.T + (b * b).sum(1)


def prototypes(features: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    means = np.stack([features[shots[labels == k]].mean(0) for k in range(labels.max() + 1)])
    return squared_distances(features, means).argmin(1)


def neighbours(features: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """k-NN with k = 1 for up to 2 shots, 3 for 5, 5 from 10 on; votes weighted by 1 / distance."""
    per_class = len(shots) // (labels.max() + 1)
    k = 1 if per_class <= 2 else 3 if per_class <= 5 else 5
    distances = np.sqrt(np.maximum(squared_distances(features, features[shots]), 1e-12))
    nearest = np.argsort(distances, axis=1)[:, :k]
    weights = 1 / np.take_along_axis(distances, nearest, 1)
    votes = np.stack([(weights * (labels[nearest] == c)).sum(1) for c in range(labels.max() + 1)], 1)
    return votes.argmax(1)


def logistic(features: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Multinomial logistic regression, minimising |w|^2 / 2 + C * sum of cross entropies by L-BFGS.

    The optimum lies in the span of the examples, so the problem is solved there."""
    examples = features[shots]
    _, sizes, basis = np.linalg.svd(examples, full_matrices=False)
    basis = basis[sizes > 1e-9 * sizes[0]]
    x, y = torch.from_numpy(examples @ basis.T), torch.from_numpy(labels)
    w = torch.zeros(x.shape[1], int(labels.max()) + 1, dtype=x.dtype, requires_grad=True)
    b = torch.zeros(w.shape[1], dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([w, b], max_iter=100, tolerance_grad=1e-5, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        fit = torch.nn.functional.cross_entropy(x @ w + b, y, reduction="sum")
        value = 0.5 * (w * w).sum() + LOGISTIC_C * fit
        value.backward()
        return value

    optimiser.step(loss)
    return (features @ basis.T @ w.detach().numpy() + b.detach().numpy()).argmax(1)


def otsu_thresholds(values: np.ndarray, n_classes: int, n_bins: int = 256) -> np.ndarray:
    """Otsu's thresholds for several classes (IEEE Trans. SMC 9, 62, 1979): the cuts of the histogram
    with the largest variance between classes, found exactly by dynamic programming."""
    counts, edges = np.histogram(values, n_bins)
    centres = 0.5 * (edges[1:] + edges[:-1])
    n = np.concatenate([[0], np.cumsum(counts)]).astype(float)
    s = np.concatenate([[0], np.cumsum(counts * centres)])
    # gain[i, j]: (sum)^2 / n of the bins i .. j-1; to be maximised over the cuts
    width = n[None, :] - n[:, None]
    gain = np.where(width > 0, (s[None, :] - s[:, None]) ** 2 / np.maximum(width, 1), 0.0)
    gain[np.tril_indices(n_bins + 1)] = -np.inf
    best, cuts = gain[0], []
    for _ in range(n_classes - 1):
        through = best[:, None] + gain
        cuts.append(through.argmax(0))
        best = through.max(0)
    end, found = n_bins, []
    for cut in reversed(cuts):
        end = int(cut[end])
        found.append(edges[end])
    return np.array(found[::-1])


def map_bins(bins: np.ndarray, shots: np.ndarray, labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Names each bin after the class most of whose examples fall into it; an empty bin, or a tie, is
    named after the class whose examples are nearest to the bin in `values`."""
    n_classes = labels.max() + 1
    means = np.array([values[shots[labels == k]].mean() for k in range(n_classes)])
    names = np.zeros(bins.max() + 1, int)
    for b in range(bins.max() + 1):
        votes = np.bincount(labels[bins[shots] == b], minlength=n_classes).astype(float)
        distance = np.abs(means - (values[bins == b].mean() if (bins == b).any() else np.inf))
        names[b] = np.lexsort((distance, -votes))[0]
    return names[bins]


def otsu(features: np.ndarray, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Thresholds on the chips' mean brightness (the first feature)."""
    brightness = features[:, 0]
    bins = np.digitize(brightness, otsu_thresholds(brightness, labels.max() + 1))
    return map_bins(bins, shots, labels, brightness)


def mean_recall(found: np.ndarray, truth: np.ndarray, shots: np.ndarray) -> float:
    asked = np.ones(len(truth), bool)
    asked[shots] = False
    return float(np.mean([(found[asked & (truth == k)] == k).mean() for k in range(truth.max() + 1)]))


def draw_shots(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n chips of each class without replacement, class after class. A draw with more shots of the same
    seed contains the one with fewer."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:n] for k in range(labels.max() + 1)])
