"""The tables and plots of docs/accuracy.md from the study's scores."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import plot
from data import Task

CHEAP = ("prototypes", "logistic", "neighbours", "mean_std", "otsu")
SAME = ("prototypes_same", "logistic_same", "scratch")
NAMES = {
    "prototypes": "prototypes",
    "logistic": "logistic regression",
    "neighbours": "k-NN",
    "mean_std": "chip mean + std",
    "otsu": "Otsu",
    "watershed": "watershed",
    "scratch": "trained from scratch",
    "prototypes_same": "prototypes, same chips",
    "logistic_same": "logistic regression, same chips",
}
# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {
    "prototypes": "#0072b2",
    "logistic": "#e69f00",
    "neighbours": "#009e73",
    "mean_std": "#d55e00",
    "otsu": "#cc79a7",
    "watershed": "#56b4e9",
    "scratch": "#555555",
}
GOAL = 0.9

Cells = dict[int, np.ndarray]  # shots -> groups x draws


@dataclass
class Study:
    tasks: list[Task]
    scores: dict[str, dict[str, Cells]]  # method -> task -> cells
    seconds: dict[str, float]  # method -> to classify one group
    scratch_facts: dict[str, float]
    noise: dict[str, dict[str, dict[float, np.ndarray]]]  # scene -> method -> dose -> seeds x draws
    shots: tuple[int, ...]
    draws: int
    scratch_draws: int
    scratch_groups: int
    spare: int

    def mean(self, method: str, task: str, n: int) -> float:
        return float(self.scores[method][task][n].mean())

    def spread(self, method: str, task: str, n: int) -> float:
        """Standard deviation over draws, mean over groups: what one user's luck is worth."""
        return float(self.scores[method][task][n].std(1, ddof=1).mean())

    def names(self, shots: int) -> list[str]:
        """Tasks that were scored at this number of shots."""
        return [t.name for t in self.tasks if shots in self.scores["prototypes"][t.name]]

    def over(self, method: str, names: list[str], n: int) -> tuple[float, float]:
        """Mean and mean spread over tasks."""
        means = [self.mean(method, name, n) for name in names]
        return float(np.mean(means)), float(np.mean([self.spread(method, name, n) for name in names]))


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def with_spread(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.3f} ± {pair[1]:.3f}"


def shots_table(study: Study, names: list[str], shots: list[int]) -> str:
    head = ["examples a class", *map(str, shots)]
    return table(
        head, [[NAMES[m], *(with_spread(study.over(m, names, n)) for n in shots)] for m in CHEAP + SAME]
    )


def task_table(study: Study, n: int) -> str:
    methods = (*CHEAP, "prototypes_same", "scratch")
    rows = []
    for name in study.names(n):
        rows.append([name, *(with_spread((study.mean(m, name, n), study.spread(m, name, n))) for m in methods)])
    return table(["task", *(NAMES[m] for m in methods)], rows)


def labels_needed(study: Study, method: str, name: str) -> str:
    """Examples a class for GOAL: log-linear between the numbers of examples that were tried."""
    curve = [(n, cells.mean()) for n, cells in sorted(study.scores[method][name].items())]
    if curve[0][1] >= GOAL:
        return "1"
    for (n0, s0), (n1, s1) in zip(curve, curve[1:]):
        if s1 >= GOAL:
            share = (GOAL - s0) / (s1 - s0)
            return str(math.ceil(math.exp(math.log(n0) + share * math.log(n1 / n0)) - 1e-9))
    return f"> {curve[-1][0]}"


def labels_table(study: Study) -> str:
    methods = (*CHEAP, "prototypes_same", "scratch")
    rows = [[t.name, *(labels_needed(study, m, t.name) for m in methods)] for t in study.tasks]
    return table(["task", *(NAMES[m] for m in methods)], rows)


def seconds_table(study: Study) -> str:
    sizes = [len(group.labels) for task in study.tasks for group in task.groups]
    encode = [t.encode_seconds * len(g.labels) for t in study.tasks for g in t.groups]
    rows = []
    for method in ("prototypes", "logistic", "neighbours"):
        first, again = np.mean(encode) + study.seconds[method], study.seconds[method]
        rows.append([NAMES[method], f"{first:.2f}", f"{again:.4f}"])
    facts = study.scratch_facts
    rows.append([NAMES["scratch"], f"{facts['seconds']:.1f}", f"{facts['seconds']:.1f}"])
    text = table(["5 examples a class", "first result, s", "after a changed example, s"], rows)
    return text + (
        f"\nProcessor seconds of one core for a group of {np.mean(sizes):.0f} chips (the mean); the slowest "
        f"training took {facts['slowest']:.0f} s. How well training fits its examples: accuracy {facts['fit']:.3f} on "
        "the augmented examples of the last quarter of its steps, mean over all trainings.\n"
    )


def better(study: Study, method: str, against: str, n: int, margin: float = 0.01) -> list[str]:
    return [
        f"{name} ({study.mean(method, name, n):.3f} against {study.mean(against, name, n):.3f})"
        for name in study.names(n)
        if study.mean(method, name, n) > study.mean(against, name, n) + margin
    ]


def difference(study: Study, method: str, against: str) -> str:
    parts = []
    for n in study.shots:
        names = study.names(n)
        if names:
            value = study.over(method, names, n)[0] - study.over(against, names, n)[0]
            parts.append(f"{value:+.3f} with {n}")
    return ", ".join(parts)


def findings(study: Study) -> str:
    """What the figures say against and for prototypes; made from them, so that it stays true."""
    lines = [
        f"- Logistic regression less prototypes: {difference(study, 'logistic', 'prototypes')}.",
        f"- Training from scratch less prototypes, same chips: {difference(study, 'scratch', 'prototypes_same')}.",
    ]
    for method, against in (("logistic", "prototypes"), ("scratch", "prototypes_same"), ("mean_std", "prototypes")):
        for n in (5, 10):
            found = better(study, method, against, n)
            said = "; ".join(found) if found else "nowhere"
            lines.append(f"- {NAMES[method].capitalize()} beats prototypes by more than 0.01 with {n}: {said}.")
    return "\n".join(lines) + "\n"


def study_section(study: Study) -> str:
    common = [n for n in study.shots if study.names(n) == study.names(study.shots[0])]
    full = study.names(study.shots[-1])
    drawn = len(study.noise)
    parts = [
        f"{len(study.tasks) - drawn} tasks of labelled micrographs and {drawn} drawn scenes; mean of the tasks' "
        f"balanced accuracies ± its standard deviation over draws of the examples ({study.draws} draws). Training "
        f"from scratch is dear, so it has the first {study.scratch_groups} groups of each task and "
        f"{study.scratch_draws} draws; the lines \"same chips\" are prototypes and logistic regression on exactly "
        "those groups and draws.\n",
        f"All {len(study.tasks)} tasks:\n",
        shots_table(study, study.names(common[0]), common),
    ]
    if full and common != list(study.shots):
        parts += [
            f"The tasks with chips enough for {study.shots[-1]} examples a class ({', '.join(full)}):\n",
            shots_table(study, full, list(study.shots)),
        ]
    parts += [
        "![Balanced accuracy against examples a class, for each task](accuracy.svg)\n",
        f"*Each task on its first {study.scratch_groups} groups, so that all curves are about the same chips.*\n",
        "Each task with 5 examples a class:\n",
        task_table(study, 5),
        f"Left out, because a class has fewer than {study.spare} chips left to be asked about: {left_out(study)}.\n",
        "### What the figures say\n",
        findings(study),
        f"### Examples a class for a balanced accuracy of {GOAL}\n",
        labels_table(study),
        "### Seconds to a result\n",
        seconds_table(study),
    ]
    return "\n".join(parts)


def left_out(study: Study) -> str:
    parts = []
    for n in study.shots:
        missing = [t.name for t in study.tasks if t.name not in study.names(n)]
        if missing:
            parts.append(f"{n} examples a class: {', '.join(missing)}")
    return "; ".join(parts) or "nothing"


def noise_losses(scene: str, methods: dict[str, dict[float, np.ndarray]]) -> str:
    best = [
        f"{NAMES[method]} at {dose:g} ({cells.mean():.3f} against {methods['prototypes'][dose].mean():.3f})"
        for method, row in methods.items()
        for dose, cells in row.items()
        if cells.mean() > methods["prototypes"][dose].mean() + 0.01
    ]
    return f"Better than prototypes by more than 0.01 on {scene}: {'; '.join(best) or 'nothing at any dose'}.\n"


def noise_section(study: Study) -> str:
    parts = []
    for scene, methods in study.noise.items():
        doses = list(next(iter(methods.values())))
        rows = []
        for method, cells in methods.items():
            pairs = [(float(cells[d].mean()), float(cells[d].std(ddof=1))) for d in doses]
            rows.append([NAMES[method], *(with_spread(pair) for pair in pairs)])
        parts += [f"{scene}:\n", table(["electrons a pixel", *(f"{d:g}" for d in doses)], rows)]
        parts.append(noise_losses(scene, methods))
    parts.append("![Balanced accuracy against dose, for each scene](noise.svg)\n")
    return "\n".join(parts)


def legend(methods: tuple[str, ...]) -> dict[str, str]:
    return {NAMES[m]: COLOURS[m] for m in methods}


def draw_accuracy(study: Study, path: Path) -> None:
    """On the groups of the training from scratch, so that all curves are about the same chips."""
    methods = (*CHEAP, "scratch")
    panels = []
    for task in study.tasks:
        panel = plot.Panel(task.name)
        for method in reversed(methods):
            points = []
            for n, cells in sorted(study.scores[method][task.name].items()):
                cells = cells[: study.scratch_groups]
                bar = cells.std(1, ddof=1).mean() if method in ("prototypes", "scratch") else 0.0
                points.append((n, cells.mean(), bar))
            panel.curves.append(plot.Curve(points, COLOURS[method], dashed=method == "scratch"))
        panels.append(panel)
    axis = "examples a class (bars: standard deviation over draws)"
    plot.write(path, panels, 4, study.shots, 0.2, axis, legend(methods))


def draw_noise(study: Study, path: Path) -> None:
    panels, methods = [], ("prototypes", "watershed", "mean_std", "otsu")
    for scene, results in study.noise.items():
        panel = plot.Panel(scene)
        for method in reversed(methods):
            points = [(d, float(s.mean()), float(s.std(ddof=1))) for d, s in results[method].items()]
            panel.curves.append(plot.Curve(points, COLOURS[method]))
        panels.append(panel)
    doses = tuple(next(iter(next(iter(study.noise.values())).values())))
    axis = "electrons a pixel (bars: standard deviation over seeds and draws)"
    plot.write(path, panels, 2, doses, 0.2, axis, legend(methods))


def replace_section(text: str, name: str, body: str) -> str:
    begin, end = f"<!-- {name}: begin, written by make study -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    return before + begin + "\n\n" + body + "\n" + end + rest.split(end)[1]


def write(study: Study, docs: Path) -> None:
    draw_accuracy(study, docs / "accuracy.svg")
    draw_noise(study, docs / "noise.svg")
    page = docs / "accuracy.md"
    text = replace_section(page.read_text(), "study", study_section(study))
    page.write_text(replace_section(text, "noise", noise_section(study)))
