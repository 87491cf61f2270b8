"""What becomes of the rims on real maps when mixtures of two classes are given to one of them.

Usage: rims.py CHIPSHOT [SEED...]   (python3; make bench-rims)

Micrographs of CHIPSHOT_SHARED with three classes in one image are classified twice, with --borders off and with
--borders assign (and, with that, --unknown): the SrTiO3/Ge image with its own examples, the others with five examples a class drawn from the labelled
chips, once a seed (default: 0 to 9). Counted are the chips that went to another class, those that are called unknown, and of
the chips whose class is known, but for the examples, how many are right either way and how many are called unknown. Exits non-zero if any image has fewer right than before by
more than 2 in 1,000. Skipped, saying so, where the micrographs are absent.
"""
from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

DATA = Path(os.environ.get("CHIPSHOT_SHARED", "../shared")) / "data"
SHOTS, CLASS_SIZE_MIN = 5, 12
LOSS_MAX = 0.002


@dataclass
class Image:
    path: Path
    chip: int
    truth: dict[tuple[int, int], str]  # by the chip's corner


def labelled_images() -> list[Image]:
    """The images of the accuracy tasks that have labelled chips of three classes or more."""
    images = []
    for manifest in sorted((DATA / "accuracy").glob("*.csv")):
        rows = defaultdict(list)
        with manifest.open(newline="") as file:
            for row in csv.DictReader(file):
                rows[row["image"]].append(row)
        for name, chips in rows.items():
            sizes = Counter(chip["label"] for chip in chips)
            truth = {(int(chip["x"]), int(chip["y"])): chip["label"] for chip in chips
                     if sizes[chip["label"]] >= CLASS_SIZE_MIN}
            if len(set(truth.values())) >= 3:
                images.append(Image(DATA / "accuracy" / name, int(chips[0]["size"]), truth))
    return images


def draw_support(image: Image, seed: int) -> dict:
    """Examples at the chips' regular places, so that the others are asked where they were labelled."""
    draws = random.Random(seed)
    places = sorted(place for place in image.truth if place[0] % image.chip == 0 and place[1] % image.chip == 0)
    classes = []
    for label in sorted(set(image.truth.values())):
        mine = [place for place in places if image.truth[place] == label]
        if len(mine) < SHOTS:
            mine = sorted(place for place in image.truth if image.truth[place] == label)
        classes.append({"name": label, "examples": [{"x": x, "y": y} for x, y in draws.sample(mine, SHOTS)]})
    return {"name": "drawn", "chip": {"width": image.chip, "height": image.chip}, "classes": classes}


def classify(chipshot: str, image: Path, support: Path, out: Path, *options: str) -> dict[tuple[int, int], str]:
    subprocess.run([chipshot, "classify", "--image", image, "--support", support, "--out", out, *options], check=True)
    with (out / "labels.csv").open(newline="") as file:
        return {(int(row["x"]), int(row["y"])): row["label"] for row in csv.DictReader(file)}


@dataclass
class Score:
    n_chips: int = 0
    n_moved: int = 0
    n_known: int = 0
    right_before: int = 0
    right_after: int = 0
    n_unknown: int = 0
    known_unknown: int = 0

    def add(self, other: Score) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def score(chipshot: str, image: Image, support: dict, work: Path) -> tuple[Score, Counter]:
    (work / "support.json").write_text(json.dumps(support))
    before, after, with_unknown = (
        classify(chipshot, image.path, work / "support.json", work / "out", *options)
        for options in (("--borders", "off"), ("--borders", "assign"), ("--borders", "assign", "--unknown")))
    shown = {(e["x"], e["y"]) for one in support["classes"] for e in one["examples"]}
    known = [place for place in before if place in image.truth and place not in shown]
    moves = Counter((before[place], after[place]) for place in before if before[place] != after[place])
    right = [sum(labels[place] == image.truth[place] for place in known) for labels in (before, after)]
    unknown = {place for place, label in with_unknown.items() if label == "unknown"}
    return Score(len(before), sum(moves.values()), len(known), *right, len(unknown), len(unknown & set(known))), moves


def print_row(name: str, total: Score, moves: Counter) -> None:
    listed = ", ".join(f"{n} {a} to {b}" for (a, b), n in sorted(moves.items(), key=lambda item: -item[1]))
    print(f"| {name} | {total.n_chips} | {total.n_moved} | {listed or '-'} | {total.n_known} | {total.right_before} "
          f"| {total.right_after} | {total.n_unknown} | {total.known_unknown} |", flush=True)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    chipshot, seeds = sys.argv[1], [int(seed) for seed in sys.argv[2:]] or list(range(10))
    if not DATA.is_dir():
        print(f"skipped: {DATA} is absent (set CHIPSHOT_SHARED)")
        return 0
    with (DATA / "sto-ge" / "clear-chips.csv").open(newline="") as file:
        clear = {(int(row["x"]), int(row["y"])): row["label"] for row in csv.DictReader(file)}
    own = json.loads((DATA / "sto-ge" / "support.json").read_text())
    own_image = Image(DATA / "sto-ge" / "sto-ge-haadf.png", own["chip"]["width"], clear)
    worse = []
    print("| image | chips | moved | from, to | known | right before | right after | unknown | known ones of them |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as directory:
        for image in [own_image, *labelled_images()]:
            total, moves = Score(), Counter()
            supports = [own] if image is own_image else [draw_support(image, seed) for seed in seeds]
            for support in supports:
                one, moved = score(chipshot, image, support, Path(directory))
                total.add(one)
                moves.update(moved)
            print_row(image.path.stem, total, moves)
            if total.right_after < total.right_before - LOSS_MAX * total.n_known:
                worse.append(image.path.stem)
    if worse:
        print(f"fewer right than before: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
