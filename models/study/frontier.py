"""What an embedding may consist of, what that gives and what it costs: `make frontier`.

Usage: frontier.py CHIPSHOT [--encoder FILE] [--document FILE] [--tasks NAME...] [--draws N] [--passes N]
Scores one encoder's weights on the labelled micrographs of CHIPSHOT_SHARED (skipped, saying so, when they are absent):
chips alone and dense, at several input sizes, with fewer or more stages, and some of them side by side. All rows get the
same draws of the examples. The time of a chip is taken on this machine, by whole jobs of `chipshot bench job` with one
thread: scaling, encoding and pooling. Prints the tables, or writes them between their marks in the document.
"""

import argparse
import json
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import data
from methods import draw_shots, mean_recall, prototypes, scale, standardise

DEFAULT = Path(__file__).resolve().parents[1] / "default.safetensors"
SHOTS = 5
BEGIN, END = "<!-- frontier: begin, written by make frontier -->", "<!-- frontier: end -->"

# A way is what stands side by side in a vector: encodings and their input sizes.
Part = tuple[str, int]
Way = tuple[Part, ...]
WAYS: list[Way] = [
    *((("chips", side),) for side in (32, 48, 64)), *((("dense", side),) for side in (32, 40, 48, 64)),
    (("chips", 32), ("chips", 64)), (("dense", 32), ("dense", 64)), (("chips", 48), ("dense", 48)),
    (("chips", 32), ("dense", 64)),
]
PARTS: list[Part] = sorted({part for way in WAYS for part in way})
LAST_STAGES = (2, 3, 4)


@dataclass
class Row:
    way: Way
    stages: list[int]
    scores: list[np.ndarray]  # of each task: groups x draws
    dimension: int = 0
    milliseconds: float = 0  # a chip

    @property
    def name(self) -> str:
        return " and ".join(f"{encoding} {side}" for encoding, side in self.way)

    @property
    def mean(self) -> float:
        return mean_of(self.scores)


def mean_of(scores: list[np.ndarray]) -> float:
    return float(np.mean([of_task.mean() for of_task in scores]))


def worst_of(scores: list[np.ndarray]) -> float:
    return float(np.mean([of_task.mean(1).min() for of_task in scores]))


class Weights:
    """A safetensors file, and files that say other things of the same tensors."""

    def __init__(self, path: Path, folder: Path) -> None:
        raw = path.read_bytes()
        (length,) = struct.unpack_from("<Q", raw)
        self.header, self.tensors = json.loads(raw[8 : 8 + length]), raw[8 + length :]
        said = json.loads(self.header.get("__metadata__", {}).get("chipshot", "{}"))
        self.described = {"format": 1, "name": path.name, "pool": {"stages": [4], "statistics": ["mean"]}} | said
        self.path, self.folder = path, folder
        self.first = min(self.described["pool"]["stages"])
        self.lasts = [s for s in LAST_STAGES if s >= self.first and f"layer{s}.0.conv2.weight" in self.header]

    def stages(self, last: int) -> list[int]:
        return list(range(self.first, last + 1))

    def file(self, side: int, last: int) -> Path:
        """With this input size, pooling the stages up to the last one, which costs no more than they do."""
        path = self.folder / f"{side}-{last}.safetensors"
        if not path.exists():
            pool = self.described["pool"] | {"stages": self.stages(last)}
            described = self.described | {"input_size": side, "pool": pool}
            text = json.dumps(self.header | {"__metadata__": {"chipshot": json.dumps(described)}}).encode()
            text += b" " * (-len(text) % 8)
            path.write_bytes(struct.pack("<Q", len(text)) + text + self.tensors)
        return path

    def without_later(self, vectors: np.ndarray, last: int) -> np.ndarray:
        """Stage lies behind stage, so that the first columns are the vector with fewer of them."""
        later = range(last + 1, self.lasts[-1] + 1)
        names = [f"layer{s}.0.conv{3 if f'layer{s}.0.conv3.weight' in self.header else 2}.weight" for s in later]
        n_statistics = len(self.described["pool"]["statistics"])
        return vectors[:, : vectors.shape[1] - n_statistics * sum(self.header[name]["shape"][0] for name in names)]


# ---- what it gives ----


def embed(chipshot: Path, task: data.Task, out: Path, *options: object) -> np.ndarray:
    command = [chipshot, "embed", "--manifest", task.manifest, "--root", task.root, "--out", out, *options]
    subprocess.run(list(map(str, command)), check=True)
    return np.load(out)


def side_by_side(vectors: list[np.ndarray]) -> np.ndarray:
    """As the service does it with several input sizes: none outweighs another."""
    if len(vectors) == 1:
        return vectors[0]
    return np.hstack([v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in vectors])


def score(task: data.Task, vectors: np.ndarray, ready: Callable[[np.ndarray], np.ndarray], draws: int) -> np.ndarray:
    """Groups x draws. `ready` makes of the vectors of a group's chips what is compared."""
    scores = np.empty((len(task.groups), draws))
    for g, group in enumerate(task.groups):
        x = ready(vectors[group.rows])
        for draw in range(draws):
            shots = draw_shots(group.labels, SHOTS, draw)
            scores[g, draw] = mean_recall(prototypes(x, shots, group.labels[shots]), group.labels, shots)
    return scores


def score_task(chipshot: Path, weights: Weights, task: data.Task, rows: list[Row], draws: int) -> np.ndarray:
    """Adds to the rows; returns the scores of the chip's mean and standard deviation alone."""
    out, all_stages = weights.folder / "vectors.npy", weights.lasts[-1]
    made = {(encoding, side): embed(chipshot, task, out, "--encoder", weights.file(side, all_stages), "--encoding",
                                    encoding) for encoding, side in PARTS}
    for row in rows:
        vectors = side_by_side([weights.without_later(made[part], row.stages[-1]) for part in row.way])
        row.dimension = vectors.shape[1]
        row.scores.append(score(task, vectors, standardise, draws))
    return score(task, embed(chipshot, task, out, "--features", "mean-std"), scale, draws)


# ---- what it costs ----


def milliseconds_of(chipshot: Path, weights: Path, encoding: str) -> float:
    """Of a thread, for a chip of a job's image."""
    command = [chipshot, "bench", "job", "--json", "--rounds", "1", "--threads", "1", "--encoder", weights, "--encoding",
               encoding]
    report = json.loads(subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True).stdout)
    parts = report["cold"]["parts"]
    return 1e3 * (parts["chip"] + parts["encode"]) / report["image"]["chips"]


def time_rows(chipshot: Path, weights: Weights, rows: list[Row], passes: int) -> None:
    """In passes over all of them; the shortest count, since what else the machine does can only add."""
    times: dict[tuple[Part, int], list[float]] = {}
    for _ in range(passes):
        for encoding, side in PARTS:
            for last in weights.lasts:
                taken = milliseconds_of(chipshot, weights.file(side, last), encoding)
                times.setdefault(((encoding, side), last), []).append(taken)
    for row in rows:
        row.milliseconds = sum(min(times[part, row.stages[-1]]) for part in row.way)


# ---- the tables ----


def frontier_of(rows: list[Row]) -> list[Row]:
    """The fastest, and those more accurate than all that are faster."""
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.milliseconds, -row.mean)):
        if not found or row.mean > found[-1].mean:
            found.append(row)
    return found


def line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def table(rows: list[Row], baseline: list[np.ndarray], tasks: list[data.Task]) -> list[str]:
    best = frontier_of(rows)
    lines = [line("encoding and input size", "stages", "dimension", "ms a chip", *(task.name for task in tasks), "mean",
                  "worst groups", "frontier"), "|---" * (7 + len(tasks)) + "|"]
    for row in rows:
        lines.append(line(row.name, "+".join(map(str, row.stages)), row.dimension, f"{row.milliseconds:.3f}",
                          *(f"{of_task.mean():.3f}" for of_task in row.scores), f"{row.mean:.4f}",
                          f"{worst_of(row.scores):.4f}", "yes" if row in best else ""))
    lines.append(line("mean and std of the chip", "", 2, "", *(f"{of_task.mean():.3f}" for of_task in baseline),
                      f"{mean_of(baseline):.4f}", f"{worst_of(baseline):.4f}", ""))
    lines += ["", "The frontier, where each is more accurate than all that are faster, and what a step adds:", "",
              line("encoding and input size", "stages", "ms a chip", "mean", "more, per ms"), "|---" * 5 + "|"]
    for before, row in zip([None, *best], best):
        gain = f"{(row.mean - before.mean) / (row.milliseconds - before.milliseconds):+.3f}" if before else ""
        lines.append(line(row.name, "+".join(map(str, row.stages)), f"{row.milliseconds:.3f}", f"{row.mean:.4f}", gain))
    return lines


def transforms(chipshot: Path, weights: Weights, tasks: list[data.Task]) -> list[str]:
    """By `chipshot evaluate`, with the encoder as its file says."""
    lines = [line("transform", "distance", "mean", "worst groups"), "|---" * 4 + "|"]
    for transform in ("none", "l2", "cl2n", "standardise"):
        for distance in ("euclidean", "cosine"):
            means, worsts = [], []
            for task in tasks:
                command = [chipshot, "evaluate", "--manifest", task.manifest, "--root", task.root, "--encoder",
                           weights.path, "--transform", transform, "--distance", distance]
                said = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True).stdout
                _, mean, _, worst, *_ = said.splitlines()[-1].split()
                means.append(float(mean))
                worsts.append(float(worst))
            lines.append(line(transform, distance, f"{np.mean(means):.4f}", f"{np.mean(worsts):.4f}"))
    return lines


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chipshot", type=Path)
    parser.add_argument("--encoder", type=Path, default=DEFAULT)
    parser.add_argument("--document", type=Path, help="write the tables between its marks")
    parser.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--draws", type=int, default=40, metavar="N", help="of the examples")
    parser.add_argument("--passes", type=int, default=3, metavar="N", help="over all ways, to take their times")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    shared = Path(os.environ.get("CHIPSHOT_SHARED", "../shared"))
    tasks = [task for task in data.shared_tasks(shared) if not options.tasks or task.name in options.tasks]
    if not tasks:
        print(f"skipped: no labelled micrographs in {shared}/data/accuracy (set CHIPSHOT_SHARED)")
        return
    with tempfile.TemporaryDirectory() as name:
        weights = Weights(options.encoder, Path(name))
        rows = [Row(way, weights.stages(last), []) for last in weights.lasts for way in WAYS]
        baseline = []
        for task in tasks:
            baseline.append(score_task(options.chipshot, weights, task, rows, options.draws))
            print(f"{task.name}: scored", flush=True)
        time_rows(options.chipshot, weights, rows, options.passes)
        lines = [*table(rows, baseline, tasks), "", *transforms(options.chipshot, weights, tasks)]
    version = subprocess.run([options.chipshot, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    cpu = next((at.split(":", 1)[1].strip() for at in open("/proc/cpuinfo") if at.startswith("model name")), "?")
    text = "\n".join([f"Encoder {weights.described['name']}; {version.strip()}; one thread of: "
                      f"{cpu}; {SHOTS} examples a class, {options.draws} draws.", "", *lines])
    if options.document is None:
        print(text)
        return
    before, rest = options.document.read_text().split(BEGIN)
    options.document.write_text(before + BEGIN + "\n\n" + text + "\n\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
