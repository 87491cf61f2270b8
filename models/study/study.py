"""Few-shot prototypes against what else one could do with the same labels: `make study`.

Usage: study.py CHIPSHOT DOCS. Reads the labelled micrographs of CHIPSHOT_SHARED (skipped, saying so, when
they are absent) and draws scenes; writes DOCS/accuracy.svg, DOCS/noise.svg and the sections of
DOCS/accuracy.md between their marks. Results of training from scratch, which do not depend on the
encoder, are kept under build/study; all else is computed afresh.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import noise
import report
import scratch
from data import SCENES, Group, Task, embed_task, scene_task, shared_tasks
from methods import draw_shots, logistic, mean_recall, neighbours, otsu, prototypes, scale, standardise

SHOTS = (1, 2, 5, 10, 20, 50)
SPARE = 2  # chips that each class must have left over to be asked about
DRAWS = 10
SCRATCH_DRAWS = 3
SCRATCH_GROUPS = 3  # the first of each task: training is the expensive part
SCENE_SEEDS = range(1, 4)
WORK = Path("build/study")

Scores = dict[str, dict[str, dict[int, np.ndarray]]]  # method, task, shots -> groups x draws


def shot_counts(task: Task) -> list[int]:
    """Those for which every group of the task has chips enough, so that a curve is about one set of chips."""
    smallest = min(group.smallest_class for group in task.groups)
    return [n for n in SHOTS if n + SPARE <= smallest]


def features_of(group: Group) -> dict[str, tuple]:
    """Method -> function and features."""
    embeddings = standardise(group.embeddings)
    brightness = np.array([[chip.mean(), chip.std()] for chip in group.chips])
    return {
        "prototypes": (prototypes, embeddings),
        "logistic": (logistic, embeddings),
        "neighbours": (neighbours, embeddings),
        "mean_std": (prototypes, scale(brightness)),
        "otsu": (otsu, brightness),
    }


def score_cheap(tasks: list[Task]) -> tuple[Scores, dict[str, float]]:
    """Scores, and processor seconds to classify a group from 5 examples a class, features given."""
    scores: Scores = {}
    seconds: dict[str, list[float]] = {}
    for task in tasks:
        counts = shot_counts(task)
        for group in task.groups:
            for method, (classify, features) in features_of(group).items():
                cells = scores.setdefault(method, {}).setdefault(task.name, {})
                for n in counts:
                    draws = []
                    start = time.process_time()
                    for draw in range(DRAWS):
                        shots = draw_shots(group.labels, n, draw)
                        found = classify(features, shots, group.labels[shots])
                        draws.append(mean_recall(found, group.labels, shots))
                    if n == 5:
                        seconds.setdefault(method, []).append((time.process_time() - start) / DRAWS)
                    cells[n] = np.vstack([cells[n], draws]) if n in cells else np.array([draws])
    return scores, {method: float(np.mean(values)) for method, values in seconds.items()}


def score_scratch(tasks: list[Task], pool: ProcessPoolExecutor) -> tuple[Scores, dict[str, float]]:
    cache = scratch.Cache(WORK / "scratch")
    results: dict[tuple[str, int, int, int], dict[str, float]] = {}
    waiting = {}
    for task in tasks:
        for g, group in enumerate(task.groups[:SCRATCH_GROUPS]):
            for n in shot_counts(task):
                for draw in range(SCRATCH_DRAWS):
                    key = scratch.cache_key(group, n, draw)
                    known = cache.get(key)
                    place = (task.name, g, n, draw)
                    if known:
                        results[place] = known
                    else:
                        waiting[place] = (key, pool.submit(scratch.run, group, n, draw))
    print(f"training from scratch: {len(results)} results known, {len(waiting)} to train", flush=True)
    start = time.time()
    for i, (place, (key, job)) in enumerate(waiting.items(), 1):
        results[place] = job.result()
        cache.put(key, results[place])
        if i % 20 == 0 or i == len(waiting):
            left = (time.time() - start) / i * (len(waiting) - i)
            print(f"  {i} of {len(waiting)}, {left / 60:.1f} minutes left", flush=True)
    table: dict[str, dict[int, np.ndarray]] = {}
    for task in tasks:
        table[task.name] = {
            n: np.array(
                [
                    [results[task.name, g, n, draw]["score"] for draw in range(SCRATCH_DRAWS)]
                    for g in range(len(task.groups[:SCRATCH_GROUPS]))
                ]
            )
            for n in shot_counts(task)
        }
    at_five = [r for (_, _, n, _), r in results.items() if n == 5]
    facts = {
        "seconds": float(np.mean([r["seconds"] for r in at_five])),
        "slowest": float(max(r["seconds"] for r in at_five)),
        "fit": float(np.mean([r["fit"] for r in results.values()])),
    }
    return {"scratch": table}, facts


def same_chips(cells: dict[str, dict[int, np.ndarray]]) -> dict[str, dict[int, np.ndarray]]:
    """The part of a method's scores that has the groups and draws of the training from scratch."""
    return {t: {n: s[:SCRATCH_GROUPS, :SCRATCH_DRAWS] for n, s in row.items()} for t, row in cells.items()}


def main() -> None:
    chipshot, docs = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    shared = Path(os.environ.get("CHIPSHOT_SHARED", "../shared"))
    WORK.mkdir(parents=True, exist_ok=True)
    start = time.time()
    tasks = shared_tasks(shared)
    if not tasks:
        print(f"skipped: no labelled micrographs in {shared}/data/accuracy (set CHIPSHOT_SHARED); drawn scenes only")
    tasks += [scene_task(chipshot, scene, SCENE_SEEDS, WORK) for scene in SCENES]
    for task in tasks:
        embed_task(chipshot, task, WORK)
    scores, seconds = score_cheap(tasks)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        doses = noise.submit(chipshot, WORK, pool)
        scratch_scores, facts = score_scratch(tasks, pool)
        noise_scores = noise.collect(doses)
    scores |= scratch_scores
    for method in ("prototypes", "logistic"):
        scores[f"{method}_same"] = same_chips(scores[method])
    counts = (SHOTS, DRAWS, SCRATCH_DRAWS, SCRATCH_GROUPS, SPARE)
    report.write(report.Study(tasks, scores, seconds, facts, noise_scores, *counts), docs)
    print(f"study: {time.time() - start:.0f} s; wrote {docs}/accuracy.md, accuracy.svg and noise.svg")


if __name__ == "__main__":
    main()
