"""Labelled chips for the study: the micrographs of CHIPSHOT_SHARED and drawn scenes.

A task is a manifest as `chipshot evaluate` reads it; its groups (an image, or the images that are
scored together) keep the classes with at least 12 chips. Images are normalised as the service does it:
0.5 to 99.5 percentile of the whole image to 0..1.
"""

import csv
import resource
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FEWEST = 12  # chips of a class, as in engine/fewshot/evaluate.h
# Tasks some of whose classes differ by their orientation alone: flips and quarter turns would mix them.
ORIENTED = ("fe_gb64", "ordered-oxide")
SCENES = ("perovskite-on-diamond", "ordered-oxide")


@dataclass
class Group:
    """The scored chips of one group; `labels` are class numbers, `rows` places in the manifest."""

    chips: list[np.ndarray]
    labels: np.ndarray
    rows: np.ndarray
    oriented: bool
    embeddings: np.ndarray | None = None

    @property
    def n_classes(self) -> int:
        return int(self.labels.max()) + 1

    @property
    def smallest_class(self) -> int:
        return int(np.bincount(self.labels).min())


@dataclass
class Task:
    name: str
    manifest: Path
    root: Path
    groups: list[Group]
    encode_seconds: float = 0.0  # processor seconds for one chip


def load_image(path: Path) -> np.ndarray:
    image = Image.open(path)
    pixels = np.asarray(image).astype(np.float32)
    if pixels.ndim == 3:  # to luminance, ITU-R BT.601, as the decoder
        pixels = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    low, high = np.percentile(pixels, (0.5, 99.5))
    return np.clip((pixels - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def resize(chip: np.ndarray, side: int) -> np.ndarray:
    """Antialiased bilinear, the definition of engine/image/chip_grid.h."""
    if chip.shape == (side, side):
        return chip
    return np.asarray(Image.fromarray(chip, "F").resize((side, side), Image.BILINEAR))


def read_task(name: str, manifest: Path, root: Path) -> Task:
    images: dict[str, np.ndarray] = {}
    members: dict[str, list[tuple[int, np.ndarray, str]]] = {}
    with open(manifest, newline="") as file:
        for i, row in enumerate(csv.DictReader(file)):
            if row["image"] not in images:
                images[row["image"]] = load_image(root / row["image"])
            x, y, size = int(row["x"]), int(row["y"]), int(row["size"])
            chip = images[row["image"]][y : y + size, x : x + size]
            members.setdefault(row["group"], []).append((i, chip, row["label"]))
    groups = []
    for rows in members.values():
        counts = Counter(label for _, _, label in rows)
        names = sorted(label for label, n in counts.items() if n >= FEWEST)
        kept = [row for row in rows if row[2] in names]
        if len(names) >= 2:
            labels = np.array([names.index(label) for _, _, label in kept])
            chips, places = [chip for _, chip, _ in kept], np.array([i for i, _, _ in kept])
            groups.append(Group(chips, labels, places, name in ORIENTED))
    return Task(name, manifest, root, groups)


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def embed(chipshot: Path, manifest: Path, root: Path, out: Path, *options: str) -> tuple[np.ndarray, float]:
    """Embeddings of a manifest's rows, and the processor seconds that `chipshot embed` took."""
    before = children_seconds()
    command = [chipshot, "embed", "--manifest", manifest, "--root", root, "--out", out, "--threads", "1", *options]
    subprocess.run(command, check=True)
    return np.load(out), children_seconds() - before


def embed_task(chipshot: Path, task: Task, work: Path) -> None:
    vectors, seconds = embed(chipshot, task.manifest, task.root, work / f"{task.name}.npy")
    task.encode_seconds = seconds / len(vectors)
    for group in task.groups:
        group.embeddings = vectors[group.rows]


def draw_scene(chipshot: Path, scene: str, seed: int, folder: Path, dose: float | None = None) -> list[dict[str, str]]:
    """Draws a scene into `folder`; returns the rows of truth.csv with known labels."""
    command = [chipshot, "simulate", "--scene", scene, "--out", folder, "--seed", str(seed)]
    subprocess.run(command + (["--dose", str(dose)] if dose is not None else []), check=True)
    with open(folder / "truth.csv", newline="") as file:
        return list(csv.DictReader(file))


def write_manifest(path: Path, rows: list[tuple[str, str, str, int, str]]) -> None:
    """Rows are image, x, y, size, label; all in one group."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "x", "y", "size", "label", "group"])
        writer.writerows([*row, "all"] for row in rows)


def scene_task(chipshot: Path, scene: str, seeds: range, work: Path) -> Task:
    """One group of the pure chips of a scene drawn with several seeds."""
    rows = []
    for seed in seeds:
        name = f"{scene}-{seed}"
        truth = draw_scene(chipshot, scene, seed, work / name)
        size = int(truth[1]["x"])
        rows += [(f"{name}/image.png", r["x"], r["y"], size, r["label"]) for r in truth if r["label"]]
    manifest = work / f"{scene}.csv"
    write_manifest(manifest, rows)
    return read_task(scene, manifest, work)


def shared_tasks(shared: Path) -> list[Task]:
    folder = shared / "data" / "accuracy"
    return [read_task(path.stem, path, folder) for path in sorted(folder.glob("*.csv"))]
