"""What each choice of a training is worth, at equal short budgets: `make ablation` (an hour or two).

    python3 models/training/ablation.py build/chipshot docs/accuracy.md [ROW...]

Trains the default config from nothing on the same number of drawn chips with one choice changed at a time, scores
each file by `chipshot evaluate` on the labelled micrographs of CHIPSHOT_SHARED, and writes the table between its marks
in the document. Weights are kept in build/ablation under a name made of their config and of the files that draw, so that a
row is trained once; remove them after a change of the network or the objective. ROW (a number) trains those rows only and writes nothing.
"""
from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import config as configs
import export

HERE = Path(__file__).resolve().parent
WORK = Path("build/ablation")
# From nothing, and short: fewer images a step, a quick rise of the rate, and no questions afterwards.
BUDGET = ["run.steps=250", "run.validation_episodes=0", "episode.images=6", "optimiser.warm_up=100"]
ROWS: list[tuple[str, list[str]]] = [
    ("the default: widths 32 64 128, two blocks a stage", []),
    ("the same with another seed", ["run.seed=2"]),
    ("widths 16 32 64", ["network.stem=16", "network.widths=[16, 32, 64]"]),
    ("widths 48 96 192", ["network.stem=48", "network.widths=[48, 96, 192]"]),
    ("one block a stage", ["network.depths=[1, 1, 1]"]),
    ("three blocks a stage", ["network.depths=[3, 3, 3]"]),
    ("with a fourth stage, 256 wide", ["network.widths=[32, 64, 128, 256]", "network.depths=[2, 2, 2, 2]",
                                       "network.pool_stages=[0, 1, 2, 3, 4]"]),
    ("trained at 64 px only", ["episode.input_sizes=[64]"]),
    ("without the chip itself in the vector", ["network.pool_stages=[1, 2, 3]"]),
    ("the chip itself twice as often in the vector", ["network.chip_copies=[48, 64]"]),
    ("without the question to the last stage", ["objective.all_last=0.0"]),
    ("without the question to all images together", ["objective.all_pooled=0.0"]),
    ("without the question within an image", ["objective.within_pooled=0.0"]),
    ("classes of an image unrelated: no hard negatives", ["world.unrelated_share=1.0"]),
    ("without radiation damage, bend contours, the most uneven supports",
     ["world.topics.damage=0.0", "world.contours_share=0.0", "world.uneven=[0.06, 0.06, 0.15, 0.3]"]),
    ("without wedges and smoothed noise", ["world.wedge_share=0.0", "world.smoothed_share=0.0"]),
]
BEGIN, END = "<!-- ablation: begin, written by make ablation -->", "<!-- ablation: end -->"


def train(settings: list[str]) -> Path:
    """The weights of this config, from the cache or trained now."""
    chosen = configs.load(configs.DEFAULT, BUDGET + settings)
    key = json.dumps(chosen.as_dict()) + "".join((HERE / name).read_text() for name in export.RECIPE)
    out = WORK / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    if out.exists() and not out.with_name(out.name + ".checkpoint").exists():
        return out
    command = ["/usr/bin/python3", str(HERE / "train.py"), "--out", str(out), "--threads", "1"]
    for setting in BUDGET + settings:
        command += ["--set", setting]
    subprocess.run(command, check=True, stdout=sys.stderr)
    out.with_name(out.name + ".checkpoint").unlink()
    return out


def last_line(command: list[str]) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1].split()


def scores(chipshot: str, weights: Path, root: Path) -> dict[str, tuple[float, float]]:
    """Task -> mean and worst group."""
    found = {}
    for manifest in sorted(root.glob("*.csv")):
        words = last_line([chipshot, "evaluate", "--manifest", str(manifest), "--root", str(root),
                           "--encoder", str(weights)])
        found[manifest.stem] = (float(words[words.index("mean") + 1]), float(words[words.index("worst") + 1]))
    return found


def work(chipshot: str, weights: Path) -> tuple[float, float]:
    """Millions of parameters, and of floating-point operations a chip."""
    text = subprocess.run([chipshot, "encoder", "info", str(weights)], check=True, capture_output=True, text=True).stdout
    said = {line.split(":")[0]: line.split(":")[1].split() for line in text.splitlines() if ":" in line}
    return int(said["parameters"][0]) / 1e6, float(said["work"][0])


def table(chipshot: str, root: Path) -> str:
    rows, tasks = [], []
    for name, settings in ROWS:
        weights = train(settings)
        found = scores(chipshot, weights, root)
        tasks = list(found)
        parameters, flops = work(chipshot, weights)
        mean = sum(m for m, _ in found.values()) / len(found)
        worst = sum(w for _, w in found.values()) / len(found)
        cells = [name, f"{parameters:.1f}", f"{flops:.0f}", *(f"{m:.3f}" for m, _ in found.values()), f"{mean:.4f}",
                 f"{worst:.4f}"]
        rows.append(cells)
        print(" | ".join(cells), flush=True)
    chosen = configs.load(configs.DEFAULT, BUDGET)
    chips = chosen.run.steps * chosen.episode.images * chosen.episode.ways * chosen.episode.samples
    head = ["changed", "million weights", "MFLOP a chip", *tasks, "mean", "worst groups"]
    lines = [f"Each from nothing, {chosen.run.steps} steps, {chips:,} drawn chips.", "", "| " + " | ".join(head) + " |",
             "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows])


def main() -> None:
    chipshot, document, only = sys.argv[1], Path(sys.argv[2]), [int(word) for word in sys.argv[3:]]
    root = Path(os.environ.get("CHIPSHOT_SHARED", "../shared")) / "data" / "accuracy"
    if not root.is_dir():
        print(f"skipped: {root} is absent (set CHIPSHOT_SHARED)")
        return
    WORK.mkdir(parents=True, exist_ok=True)
    for row in only:
        train(ROWS[row][1])
    if only:
        return
    text = table(chipshot, root)
    before, rest = document.read_text().split(BEGIN)
    document.write_text(before + BEGIN + "\n\n" + text + "\n\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
