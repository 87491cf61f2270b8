"""Accuracy against dose on drawn scenes: few-shot prototypes and two classical segmentations.

Each method labels the same chips of a scene from the same 5 example chips a class. The segmentations label
pixels first, and a chip takes the label of most of its pixels.
"""

import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from data import SCENES, draw_scene, embed, load_image, write_manifest
from methods import draw_shots, map_bins, mean_recall, otsu_thresholds, prototypes, standardise

DOSES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # electrons a pixel
SEEDS = range(1, 4)
DRAWS = 5
SHOTS = 5
METHODS = ("prototypes", "mean_std", "otsu", "watershed")

NoiseScores = dict[str, dict[str, dict[float, np.ndarray]]]  # scene, method, dose -> seeds x draws


def blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = torch.from_numpy((taps / taps.sum()).astype(np.float32))
    x = torch.from_numpy(plane)[None, None]
    x = torch.nn.functional.pad(x, (reach, reach, reach, reach), mode="reflect")
    x = torch.nn.functional.conv2d(x, kernel[None, None, None, :])
    return torch.nn.functional.conv2d(x, kernel[None, None, :, None])[0, 0].numpy()


def watershed(relief: np.ndarray) -> np.ndarray:
    """Basin number of each pixel: the minimum that the path of steepest descent over 8 neighbours ends in
    (Fairfield's toboggan, equal to a watershed that is flooded from every minimum)."""
    height, width = relief.shape
    padded = np.pad(relief, 1, constant_values=np.inf)
    lowest, target = relief.copy(), np.arange(height * width).reshape(height, width)
    own = target.copy()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            beside = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            lower = beside < lowest
            lowest = np.where(lower, beside, lowest)
            target = np.where(lower, own + dy * width + dx, target)
    target = target.ravel()
    while True:  # follow the paths, twice as far each time
        further = target[target]
        if np.array_equal(further, target):
            return np.unique(target, return_inverse=True)[1].reshape(height, width)
        target = further


def chip_windows(plane: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    return np.stack([plane[y : y + size, x : x + size].ravel() for x, y in corners])


def majority(labels: np.ndarray, n: int) -> np.ndarray:
    return np.stack([(labels == k).sum(1) for k in range(n)], 1).argmax(1)


class Segmentations:
    """What the segmentations can do before they see a label."""

    def __init__(self, image: np.ndarray, corners: np.ndarray, size: int, n_classes: int):
        # Blurred so far that the lattice is gone and the regions' mean brightness is left. Of blurs by
        # 1/8 and 1/4 of a chip here, and 1/16 and 1/6 below, these are the ones that suit the
        # segmentations best on these scenes.
        smooth = blur(image, size / 4)
        phases = np.digitize(smooth, otsu_thresholds(smooth.ravel(), n_classes))
        self.chip_phases = majority(chip_windows(phases, corners, size), n_classes)
        self.brightness = chip_windows(image, corners, size).mean(1)
        gradient_y, gradient_x = np.gradient(smooth)
        regions = watershed(blur(np.hypot(gradient_x, gradient_y), size / 6))
        self.regions = chip_windows(regions, corners, size)
        self.texture = self.region_features(image, regions, size)

    @staticmethod
    def region_features(image: np.ndarray, regions: np.ndarray, size: int) -> np.ndarray:
        """Mean brightness, and rms deviation at the scale of the lattice, of each region; scaled."""
        area = np.bincount(regions.ravel())
        fine = blur(image, size / 40)
        mean = np.bincount(regions.ravel(), fine.ravel()) / area
        square = np.bincount(regions.ravel(), (fine.ravel() - mean[regions.ravel()]) ** 2) / area
        features = np.stack([mean, np.sqrt(square)], 1)
        centre = np.average(features, axis=0, weights=area)
        deviation = np.sqrt(np.average((features - centre) ** 2, axis=0, weights=area))
        return (features - centre) / (deviation + 1e-6)

    def otsu(self, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return map_bins(self.chip_phases, shots, labels, self.brightness)

    def watershed(self, shots: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Regions by the nearest class mean over the pixels of the example chips."""
        n = labels.max() + 1
        means = np.stack([self.texture[self.regions[shots[labels == k]].ravel()].mean(0) for k in range(n)])
        classes = ((self.texture[:, None] - means) ** 2).sum(2).argmin(1)
        return majority(classes[self.regions], n)


def score(chipshot: Path, work: Path, scene: str, seed: int, dose: float) -> dict[str, list[float]]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        truth = draw_scene(chipshot, scene, seed, folder, dose)
        size = int(truth[1]["x"])
        pure = [row for row in truth if row["label"]]
        write_manifest(folder / "m.csv", [("image.png", r["x"], r["y"], size, r["label"]) for r in pure])
        embeddings = standardise(embed(chipshot, folder / "m.csv", folder, folder / "m.npy")[0])
        image = load_image(folder / "image.png")
    names = sorted({row["label"] for row in pure})
    labels = np.array([names.index(row["label"]) for row in pure])
    corners = np.array([[int(row["x"]), int(row["y"])] for row in pure])
    chips = chip_windows(image, corners, size)
    brightness = np.stack([chips.mean(1), chips.std(1)], 1)
    brightness = (brightness - brightness.mean(0)) / (brightness.std(0) + 1e-6)
    segmentations = Segmentations(image, corners, size, len(names))
    scores: dict[str, list[float]] = {method: [] for method in METHODS}
    for draw in range(DRAWS):
        shots = draw_shots(labels, SHOTS, draw)
        of = labels[shots]
        found = {
            "prototypes": prototypes(embeddings, shots, of),
            "mean_std": prototypes(brightness, shots, of),
            "otsu": segmentations.otsu(shots, of),
            "watershed": segmentations.watershed(shots, of),
        }
        for method in METHODS:
            scores[method].append(mean_recall(found[method], labels, shots))
    return scores


def submit(chipshot: Path, work: Path, pool: ProcessPoolExecutor) -> dict[tuple[str, float, int], Future]:
    return {
        (scene, dose, seed): pool.submit(score, chipshot, work, scene, seed, dose)
        for scene in SCENES
        for dose in DOSES
        for seed in SEEDS
    }


def collect(jobs: dict[tuple[str, float, int], Future]) -> NoiseScores:
    results = {place: job.result() for place, job in jobs.items()}
    return {
        scene: {
            method: {
                dose: np.array([results[scene, dose, seed][method] for seed in SEEDS]) for dose in DOSES
            }
            for method in METHODS
        }
        for scene in SCENES
    }
