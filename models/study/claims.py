"""What a result claims, held against labels: `make claims`, a part of `make study`.

Usage: claims.py CHIPSHOT DOCS [TABLE]. A table (calibration, across, unknown, coverage) is printed alone, and nothing written.
Runs `chipshot evaluate`, the service's own arithmetic, on the labelled micrographs of
CHIPSHOT_SHARED (skipped, saying so, when they are absent) and writes DOCS/reliability.svg and the tables of
DOCS/accuracy.md between their marks.
"""

import os
import subprocess
import sys
from pathlib import Path

from plot import line, text

BEGIN, END = "<!-- claims: begin, written by make claims -->", "<!-- claims: end -->"
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7")
SIDE, GAP, LEFT, TOP = 260, 46, 60, 76


class Tasks:
    """The tasks, and what `chipshot evaluate` says of each."""

    def __init__(self, chipshot: Path, root: Path) -> None:
        self.chipshot, self.root = chipshot, root
        self.names = sorted(path.stem for path in root.glob("*.csv"))

    def lines(self, name: str, *options: str) -> list[str]:
        command = [self.chipshot, "evaluate", "--root", self.root, "--manifest", self.root / f"{name}.csv", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    def last(self, name: str, *options: str) -> dict[str, str]:
        """The last line: names and values in turn."""
        words = self.lines(name, *options)[-1].split()
        return dict(zip(words[::2], words[1::2]))

    def numbers(self, key: str, *options: str) -> list[float]:
        return [float(self.last(name, *options)[key]) for name in self.names]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def fixed(values: list[float], digits: int = 4) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


# ---- calibration ----


def calibration(tasks: Tasks) -> str:
    rows = []
    for shots, label in (("1", "1"), ("2", "2"), ("5", "5"), ("10", "10"), ("1,5", "1 or 5, class by class in turn")):
        facts = [tasks.last(name, "--shots", shots) for name in tasks.names]
        errors = [float(fact["ece"]) for fact in facts]
        mean = sum(float(fact["mean"]) for fact in facts) / len(facts)
        worst = sum(float(fact["worst"]) for fact in facts) / len(facts)
        rows.append([label, f"{mean:.4f}", f"{worst:.4f}", *fixed(errors), f"{max(errors):.4f}"])
    head = ["examples a class", "mean accuracy", "worst groups", *tasks.names, "largest"]
    return "Calibration errors of the probabilities, task by task:\n\n" + table(head, rows)


# ---- from one image to the next ----


def across(tasks: Tasks) -> str:
    """Each pair of groups as much as another within a task, each task as much as another."""
    references = {
        "target": "the image that is asked, for both (as it was)",
        "image": "`image`: each its own",
        "support": "`support`: the one of the examples",
        "series": "`series`: both together",
        "auto": "`auto`, the default",
    }
    names: list[str] = []
    pairs: list[str] = []
    rows = []
    for reference, label in references.items():
        facts = {name: tasks.lines(name, "--across", "--reference", reference)[-1].split() for name in tasks.names}
        facts = {name: dict(zip(words[::2], words[1::2])) for name, words in facts.items() if words[0] == "mean"}
        names, pairs = list(facts), [fact["pairs"] for fact in facts.values()]
        means = [float(fact["mean"]) for fact in facts.values()]
        worst = [float(fact["worst"]) for fact in facts.values()]
        shares = [float(fact["support"]) * int(fact["pairs"]) for fact in facts.values()]
        if reference == "auto":
            label += f" (`support` in {sum(shares) / sum(map(int, pairs)):.4f})"
        rows.append([label, *fixed(means), f"{sum(means) / len(means):.4f}", f"{sum(worst) / len(worst):.4f}"])
    head = ["grey levels and statistics of", *(f"{name} ({n})" for name, n in zip(names, pairs)), "mean", "worst pairs"]
    return ("5 examples a class in one group, chips asked in another: balanced accuracy over all pairs of groups (their number "
            "in brackets) that have two classes in common (`chipshot evaluate --across`, `make across`):\n\n" + table(head, rows))


# ---- chips of no class ----


def unknown(tasks: Tasks) -> str:
    rows = []
    for shots in ("5", "10"):
        facts = [tasks.last(name, "--unknown", "--shots", shots) for name in tasks.names]
        novelty = [float(fact["novelty"]) for fact in facts]
        by_probability = [float(fact["probability"]) for fact in facts if fact["probability"] != "-"]
        shares = [sum(float(fact[key]) for fact in facts) / len(facts) for key in ("known", "found")]
        rows.append([shots, *fixed(novelty, 3), f"{sum(novelty) / len(novelty):.3f}",
                     f"{sum(by_probability) / len(by_probability):.3f}", *fixed(shares, 3)])
    head = ["examples a class", *tasks.names, "mean", "by probability", "known, called unknown", "unknown, found"]
    return ("Chips of a class of which there are no examples, each class in turn, told from those of the others: area under "
            "the ROC curve of their novelty, and by 1 - probability in the tasks where two classes are left; and what becomes of "
            "both at the threshold (`chipshot evaluate --unknown`):\n\n" + table(head, rows))


# ---- intervals of fractions ----


def coverage(tasks: Tasks) -> str:
    """Sums of the tasks' figures, each task as much as another."""
    methods = {
        "counting": "labels counted",
        "prior": "`fraction_estimate`, by probabilities alone",
        "simple": "50 answers, chips drawn at random",
        "verified": "50 answers, a verification",
    }
    figures = {method: [0.0] * 6 for method in methods}
    smallest = {method: 1.0 for method in methods}
    for name in tasks.names:
        rows = {words[0]: [float(word) for word in words[1:]]
                for words in map(str.split, tasks.lines(name, "--coverage")) if words and words[0] in methods}
        for method, values in rows.items():
            figures[method] = [sum(pair) for pair in zip(figures[method], values)]
            smallest[method] = min(smallest[method], values[0])
    rows = []
    for method, label in methods.items():
        values = [value / len(tasks.names) for value in figures[method]]
        rows.append([label, f"{values[0]:.3f}", f"{smallest[method]:.3f}", *fixed(values[1:5], 3), f"{values[5]:+.3f}"])
    head = ["fractions by", "covered", "covered, worst task", "width", "error", "rarest: covered", "rarest: width", "rarest: bias"]
    return ("Intervals of 95 % for the classes' fractions, 5 examples a class, on populations of 2,000 chips of which the rarest class "
            "is a tenth (`chipshot evaluate --coverage`):\n\n" + table(head, rows))


# ---- help with examples ----


def line_of(tasks: Tasks, name: str, word: str, *options: str) -> dict[str, float]:
    """The line that begins with a word: names and values in turn."""
    words = next(row.split() for row in tasks.lines(name, *options) if row.startswith(word + " "))[1:]
    return {key: float(value) for key, value in zip(words[::2], words[1::2])}


def with_mean(label: str, values: list[float]) -> list[str]:
    return [label, *fixed(values), f"{sum(values) / len(values):.4f}"]


def help_with_examples(tasks: Tasks) -> str:
    swapped = [line_of(tasks, name, "swapped", "--swapped") for name in tasks.names]
    taught = [line_of(tasks, name, "suggestions", "--suggestions", "--shots", "2") for name in tasks.names]
    found = [with_mean("wrong label flagged", [facts["found"] for facts in swapped]),
             with_mean("and its class named", [facts["named"] for facts in swapped]),
             with_mean("right label flagged", [facts["false"] for facts in swapped])]
    learnt = [with_mean("2 examples a class", [facts["before"] for facts in taught]),
              with_mean("to 5 by chips at random", [facts["random"] for facts in taught]),
              with_mean("to 5 by suggested chips", [facts["suggested"] for facts in taught])]
    head = ["", *tasks.names, "mean"]
    return ("One of 5 examples a class is a chip of another class (`chipshot evaluate --swapped`), shares of the examples:\n\n"
            + table(head, found)
            + "\n\nFrom 2 examples a class on, chips are labelled one by one until there are 5 a class, on average; half of each class "
            "is asked and never labelled (`chipshot evaluate --suggestions --shots 2`), balanced accuracy:\n\n"
            + table(head, learnt))


def reliability(tasks: Tasks, path: Path) -> None:
    """Panels for 2 and 5 examples: how often chips are right over what their probabilities say."""
    width, height = LEFT + 2 * SIDE + GAP + 20, TOP + SIDE + 56
    out: list[str] = []
    for i, name in enumerate(tasks.names):
        x, y = LEFT + i % 3 * 190, 22 + i // 3 * 20
        out += [line(x, y, x + 22, y, COLOURS[i % len(COLOURS)], 2.5), text(x + 28, y + 4, name, "start")]
    for panel, shots in enumerate(("2", "5")):
        x0, y0 = LEFT + panel * (SIDE + GAP), TOP
        out.append(text(x0 + SIDE / 2, y0 - 6, f"{shots} examples a class", extra='font-weight="bold"'))
        for i in range(6):
            at = i / 5
            out.append(line(x0, y0 + (1 - at) * SIDE, x0 + SIDE, y0 + (1 - at) * SIDE, "#dddddd"))
            out.append(text(x0 + at * SIDE, y0 + SIDE + 16, f"{at:.1f}"))
            if panel == 0:
                out.append(text(x0 - 6, y0 + (1 - at) * SIDE + 4, f"{at:.1f}", "end"))
        out.append(line(x0, y0 + SIDE, x0 + SIDE, y0, "#888888"))
        for i, name in enumerate(tasks.names):
            lines = tasks.lines(name, "--shots", shots, "--reliability")
            first = next(k for k, row in enumerate(lines) if row.startswith("probabilities"))
            bins = [row.split() for row in lines[first + 1 : -1]]
            points = [(float(row[4]), float(row[5])) for row in bins if int(row[3]) >= 50]  # fewer say little
            places = [f"{x0 + x * SIDE:.1f} {y0 + (1 - y) * SIDE:.1f}" for x, y in points]
            colour = COLOURS[i % len(COLOURS)]
            out.append(f'<path d="M{"L".join(places)}" stroke="{colour}" stroke-width="1.8" fill="none"/>')
    out.append(text(LEFT + SIDE + GAP / 2, height - 10, "mean probability of the label"))
    middle = TOP + SIDE / 2
    out.append(text(18, middle, "share that is right", extra=f'transform="rotate(-90 18 {middle:.0f})"'))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head += ' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#222222">'
    path.write_text("\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *out, "</svg>"]) + "\n")


def main() -> None:
    chipshot, docs = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    root = Path(os.environ.get("CHIPSHOT_SHARED", "../shared")) / "data" / "accuracy"
    if not root.is_dir():
        print(f"skipped: {root} is absent (set CHIPSHOT_SHARED)")
        return
    tasks = Tasks(chipshot, root)
    if len(sys.argv) > 3:
        print({"calibration": calibration, "across": across, "unknown": unknown, "coverage": coverage,
               "help": help_with_examples}[sys.argv[3]](tasks))
        return
    sections = [calibration(tasks), across(tasks), unknown(tasks), coverage(tasks), help_with_examples(tasks)]
    reliability(tasks, docs / "reliability.svg")
    document = docs / "accuracy.md"
    before, rest = document.read_text().split(BEGIN)
    document.write_text(before + BEGIN + "\n\n" + "\n\n".join(sections) + "\n\n" + END + rest.split(END)[1])
    print("\n\n".join(sections))


if __name__ == "__main__":
    main()
