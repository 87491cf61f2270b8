"""chipshot's encoder against ONNX Runtime and PyTorch with the same weights, in one run: `make bench-peers`.

Usage: peers.py CHIPSHOT PARITY_EMBED [OPTION]...   (see --help)
Prints a table in Markdown; fails when an output disagrees with PyTorch's in float64. A peer that cannot be had is left
out, saying so. `--rows` keeps those whose names contain one of the words.

How it is measured. Rounds go round: chipshot, ONNX Runtime, PyTorch, chipshot, ... so that all meet the same weather;
a round of any of them is a warm-up and a measurement of --round-ms each. The peers' processes stay alive and idle
between their turns (that they do is measured), chipshot's is started anew each time, its start not counted. A figure
is the median over the rounds; a ratio is the median of the rounds' ratios, so that slow drift cancels. Rounds during
which other programs used the machine are measured again; the quietest count.

On n threads chipshot runs n workers, each with batches of its own, as the service does. Each peer is measured with n
threads on one batch and as n processes of one thread, and the faster way counts. The peers get chips already
normalised and replicated to the network's channels, while chipshot's time includes that.

A dense row is about an image that is encoded as a whole, in tiles. chipshot's time is what whole jobs spend in the
encoder: the network, rounding its maps, pooling each chip's window. The peers run tiles of the same size, as many a call
as the row's batch, up to the same maps, which they neither round nor pool. Cutting and scaling tiles is in nobody's time.

BENCH_WRAP (a command with its arguments, for example "taskset -c 2,3") runs each row's measurement.
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from peers_inputs import DEFAULT_ENCODER, DENSE_CHIP, Row, dense_case, input_size_of, prepare

HERE = Path(__file__).resolve().parent
MODULES = Path("build/bench/onnxruntime")
ERROR_LIMIT = 1e-4
QUIET = 0.1  # of a processor: what other programs may use during a round that counts
ATTEMPTS = 3  # times the rounds wanted, until that many were quiet
PEERS = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
DENSE_JOBS = 3  # a round
OWN_SIZE = input_size_of(DEFAULT_ENCODER)
ROWS = [
    Row("resnet18", 64, 32, 2.0),
    Row("resnet18", 96, 32, 2.0),
    Row("resnet18", 224, 8, 1.5),
    Row("resnet50", 64, 32, 1.4),
    Row("resnet50", 224, 8, 1.4),
    Row("resnet101", 96, 16, 1.4),
    Row("resnet18", 64, 1, 1.5),
    Row("default", OWN_SIZE, 32, None),
    Row("default", OWN_SIZE, 1, None, 2048),
]
SMOKE_ROWS = [Row("tiny", 40, 5, None), Row("tiny", 48, 1, None, 512)]


# ---- the peers ----


def first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "rror" in line] or text.splitlines() or ["?"]
    return lines[0][:200]


def install_onnxruntime() -> tuple[Path | None, str]:
    """The folder of the package, or None and the reason. package-lock.json pins it by version and by hash."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        return None, f"{' and '.join(missing)} not installed"
    package = MODULES / "node_modules" / "onnxruntime-node"
    lock = (HERE / "package-lock.json").read_text()
    stamp = MODULES / "installed"
    if not stamp.exists() or stamp.read_text() != lock or not package.exists():
        MODULES.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(HERE / name, MODULES / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=MODULES, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return None, f"npm ci failed: {first_error(done.stderr)}"
        stamp.write_text(lock)
    loads = ["node", "-e", "require(process.argv[1])", str(package.resolve())]
    done = subprocess.run(loads, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None, f"node cannot load it: {first_error(done.stderr)}"
    return package.resolve(), ""


class Worker:
    """A peer's process: it measures or embeds when told to, and waits otherwise."""

    def __init__(self, peer: str, folder: Path, threads: int, plan: dict) -> None:
        inputs = [str(folder / "input.bin"), str(threads), *map(str, plan["dimensions"])]
        if peer == "onnxruntime":
            command = ["node", HERE / "onnxruntime.js", plan["onnxruntime"], folder / "model.onnx", *inputs]
        else:
            command = [sys.executable, HERE / "peers_torch.py", folder / "weights.safetensors", plan["makes"], *inputs]
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.version = self.read().split()[1]

    def read(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self.process.args[:2]))} ended early, with {self.process.wait()}")
        return line

    def tell(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Contender:
    """One way to run one program: some workers that are told to start at the same time."""

    def __init__(self, peer: str, way: str, workers: list[Worker], chips_an_image: float) -> None:
        self.peer, self.way, self.workers = peer, way, workers
        self.chips_an_image = chips_an_image
        self.rates: list[float] = []

    def measure(self, round_ms: int) -> None:
        for worker in self.workers:
            worker.tell(f"measure {round_ms}")
        self.rates.append(self.chips_an_image * sum(float(worker.read()) for worker in self.workers))


class Chipshot:
    peer, way = "chipshot", "threads"

    def __init__(self, programs: list[str], row: Row, folder: Path, threads: int) -> None:
        self.program, self.parity_embed = programs
        self.row, self.folder, self.threads = row, folder, threads
        self.workers: list[Worker] = []
        self.rates: list[float] = []
        self.report: dict = {}
        # The program is to choose its kernels itself, as a user's does.
        self.environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}

    def bench(self, *arguments: object) -> dict:
        command = [self.program, "bench", *arguments, "--json", "--encoder", self.folder / "weights.safetensors"]
        done = subprocess.run(list(map(str, command)), env=self.environment, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    def measure(self, round_ms: int) -> None:
        self.report = self.bench("encoder", "--size", self.row.size, "--batch", self.row.batch, "--threads",
                                 self.threads, "--rounds", 1, "--round-ms", round_ms)
        self.rates.append(self.report["chips_per_second"])

    def error(self) -> float:
        out, row = self.folder / "embeddings.bin", self.row
        command = [self.parity_embed, self.folder / "weights.safetensors", str(row.size), self.folder / "chips.bin", out]
        subprocess.run(command, env=self.environment, check=True)
        return output_error(out, self.folder / "reference.bin", row.batch)


class ChipshotDense(Chipshot):
    def __init__(self, programs: list[str], row: Row, folder: Path, threads: int, plan: dict) -> None:
        super().__init__(programs, row, folder, threads)
        tile = self.bench("encoder", "--size", plan["dimensions"][-1], "--batch", 1, "--rounds", 1, "--round-ms", 1)
        self.report = {"kernels": tile["kernels"], "flop_per_chip": tile["flop_per_chip"] / plan["chips_an_image"]}

    def measure(self, round_ms: int) -> None:
        """Some whole jobs, however long they take: the time of the median one's encoder counts."""
        report = self.bench("job", "--encoding", "dense", "--image", self.folder / "image.png", "--support",
                            self.folder / "support.json", "--threads", self.threads, "--rounds", DENSE_JOBS)
        self.report["peak_rss_bytes"] = report["memory"]["peak_rss_bytes"]
        seconds = report["cold"]["parts"]["encode"]  # all threads' time over their number
        self.rates.append(report["image"]["chips"] / seconds)

    def error(self) -> float:
        """But for roundings in doubt."""
        import numpy as np

        import whole_images

        weights = self.folder / "weights.safetensors"
        got = whole_images.ours(self.program, weights, *dense_case(self.row), self.folder)
        right, slack = (np.fromfile(self.folder / name).reshape(got.shape) for name in ("reference.bin", "slack.bin"))
        apart = np.maximum(np.abs(got - right) - slack, 0)
        return float((np.linalg.norm(apart, axis=1) / np.linalg.norm(right, axis=1)).max())


# ---- measuring one row: a process of its own, so that BENCH_WRAP can run it ----


def output_error(path: Path, right_path: Path, n: int) -> float:
    """Relative L2, of the one of n outputs with the largest."""
    import numpy as np

    right = np.fromfile(right_path).reshape(n, -1)
    made = np.fromfile(path, "<f4").reshape(n, -1)
    if made.shape != right.shape:
        return math.inf
    return float((np.linalg.norm(made - right, axis=1) / np.linalg.norm(right, axis=1)).max())


def compare_outputs(row: Row, folder: Path, contenders: list) -> dict[str, float]:
    errors = {"chipshot": contenders[0].error()}
    # Maps lie one behind the other, not tile by tile, and are compared together.
    right, n = ("maps.bin", 1) if row.image else ("reference.bin", row.batch)
    out = folder / "outputs.bin"
    for contender in contenders[1:]:
        for worker in contender.workers:
            worker.tell(f"embed {out}")
            worker.read()
            error = output_error(out, folder / right, n)
            errors[contender.peer] = max(error, errors.get(contender.peer, 0))
    return errors


def busy_seconds() -> float:
    """Processor time of the whole machine, time stolen by its host included."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")


def ended_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass
class Turn:
    """What else happened while one contender was measured, in processors."""

    restless: float  # used by the peer, of those whose turn it was not, that used most
    disturbed: float  # used by other programs of the machine


def take_turn(contender, workers: list[Worker], round_ms: int) -> Turn:
    idle = [worker not in contender.workers for worker in workers]
    start, busy, ended = time.monotonic(), busy_seconds(), ended_seconds()
    before = [worker.processor_seconds() for worker in workers]
    contender.measure(round_ms)
    used = [worker.processor_seconds() - was for worker, was in zip(workers, before)]
    others = busy_seconds() - busy - (ended_seconds() - ended) - sum(used)
    elapsed = time.monotonic() - start
    restless = max((seconds for seconds, was_idle in zip(used, idle) if was_idle), default=0.0)
    return Turn(restless / elapsed, max(0.0, others) / elapsed)


def take_turns(contenders: list, plan: dict) -> dict:
    """Rounds that other programs disturb are measured again, within limits; the quietest are kept."""
    workers = [worker for contender in contenders for worker in contender.workers]
    start = time.monotonic()
    rounds: list[list[Turn]] = []
    disturbed: list[float] = []
    while len(rounds) < ATTEMPTS * plan["rounds"] and sum(d <= QUIET for d in disturbed) < plan["rounds"]:
        if len(rounds) >= min(3, plan["rounds"]) and time.monotonic() - start > plan["seconds"]:
            break
        rounds.append([take_turn(contender, workers, plan["round_ms"]) for contender in contenders])
        disturbed.append(max(turn.disturbed for turn in rounds[-1]))
    kept = sorted(sorted(range(len(rounds)), key=lambda i: disturbed[i])[: plan["rounds"]])
    for contender in contenders:
        contender.rates = [contender.rates[i] for i in kept]
    return {
        "rounds": len(kept), "rounds_measured": len(rounds), "disturbed": max(disturbed[i] for i in kept),
        "restless": max(turn.restless for i in kept for turn in rounds[i]),
    }


def measure_row(row: Row, threads: int, folder: Path, programs: list[str], plan: dict) -> dict:
    ours = ChipshotDense(programs, row, folder, threads, plan) if row.image else Chipshot(programs, row, folder, threads)
    contenders: list = [ours]
    worth = plan["chips_an_image"]
    try:
        for peer in plan["peers"]:
            contenders.append(Contender(peer, "threads", [Worker(peer, folder, threads, plan)], worth))
            if threads > 1:
                one_each = [Worker(peer, folder, 1, plan) for _ in range(threads)]
                contenders.append(Contender(peer, "processes", one_each, worth))
        errors = compare_outputs(row, folder, contenders)
        quiet = take_turns(contenders, plan)
        versions = {c.peer: c.workers[0].version for c in contenders[1:]}
    finally:
        for contender in contenders:
            for worker in contender.workers:
                worker.end()
    ways = [{"program": c.peer, "way": c.way, "chips_per_second": c.rates} for c in contenders]
    report = ours.report
    return {
        "row": asdict(row), "side": plan["dimensions"][-1], "threads": threads, "ways": ways, "errors": errors, "quiet": quiet,
        "versions": versions, "kernels": report["kernels"], "gflop_per_chip": report["flop_per_chip"] / 1e9,
        "peak_rss_bytes": report["peak_rss_bytes"],
    }


# ---- the table ----


def summarise(result: dict) -> dict:
    """Adds each program's faster way, and chipshot's ratio to it."""
    best: dict[str, dict] = {}
    for way in result["ways"]:
        way["median"] = statistics.median(way["chips_per_second"])
        if way["median"] > best.get(way["program"], {"median": 0.0})["median"]:
            best[way["program"]] = way
    ours = best["chipshot"]["chips_per_second"]
    ratios = {
        peer: statistics.median(a / b for a, b in zip(ours, best[peer]["chips_per_second"]))
        for peer in PEERS if peer in best
    }
    lowest = min(ratios.values(), default=None)
    goal = result["row"]["goal"]
    met = None if goal is None or lowest is None else lowest >= goal
    return result | {"best": {k: {"way": w["way"], "chips_per_second": w["median"]} for k, w in best.items()},
                     "ratios": ratios, "ratio": lowest, "goal_met": met}


def cells_of(result: dict) -> list[str]:
    row, best, ratios, errors = Row(**result["row"]), result["best"], result["ratios"], result["errors"]

    def rate(program: str) -> str:
        if program not in best:
            return "-"
        mark = "*" if best[program]["way"] == "processes" else ""
        return f"{best[program]['chips_per_second']:.0f}{mark}"

    met = {None: "", True: "met", False: "missed"}[result["goal_met"]]
    network = f"{row.network}, dense" if row.image else row.network
    batch = f"{row.batch} of {result['side']} px" if row.image else str(row.batch)
    return [
        network, f"{row.size} px", batch, str(result["threads"]), rate("chipshot"),
        *(rate(peer) for peer in PEERS), *(f"{ratios[peer]:.2f}" if peer in ratios else "-" for peer in PEERS),
        f"{row.goal:.1f} {met}" if row.goal else "-",
        f"{best['chipshot']['chips_per_second'] * result['gflop_per_chip']:.0f}",
        f"{result['peak_rss_bytes'] / 1e6:.0f}",
        *(f"{errors[program]:.0e}" if program in errors else "-" for program in ("chipshot", *PEERS)),
        f"{100 * result['quiet']['disturbed']:.0f} %",
    ]


def print_line(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head(rows: list[Row], plan: dict, versions: dict, kernels: str) -> None:
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    names = [f"{PEERS[peer]} {version}" for peer, version in versions.items()]
    for peer, reason in plan["skipped"].items():
        names.append(f"{PEERS[peer]} skipped ({reason})")
    print(f"Machine: {cpu}, {os.cpu_count()} processors. Peers: {'; '.join(names) or 'none'}. chipshot: {kernels}.")
    print(f"Medians of up to {plan['rounds']} interleaved rounds of {plan['round_ms']} ms (after as much to warm up).")
    print("Chips a second; `/` is chipshot's rate over the peer's; GFLOP/s are chipshot's, counted as direct")
    print("convolution; peak memory is chipshot's, in MB; errors are relative L2 against PyTorch in float64;")
    print("`*`: as processes of one thread each, where that is the peer's faster way; other load: the most of a")
    print("processor that other programs used during a round that counts (over 10 %: measure again).")
    dense = next((row for row in rows if row.image), None)
    if dense:
        print(f"Dense: an image of {dense.image} x {dense.image} px, of {DENSE_CHIP} px a chip, side by side, encoded in")
        print("tiles (batch: how many a call of the peers, and their size), which all are given. The time of chipshot is")
        print("that of the network, of rounding its maps and of pooling each chip's window; the peers' that of the")
        print("network up to the same maps, whose error theirs is. chipshot's memory is that of the whole job.")
    print()
    print_line(["network", "input", "batch", "threads", "chipshot", *PEERS.values(),
                *(f"/ {name}" for name in PEERS.values()), "goal", "GFLOP/s", "MB", "error",
                *(f"error {name}" for name in PEERS.values()), "other load"])
    print_line(["---", "---", "---:", "---:"] + ["---:"] * 3 + ["---:"] * 2 + ["---"] + ["---:"] * 6)


def peers_here() -> tuple[list[str], dict[str, str], str]:
    """Those that can be run, why others cannot, and where ONNX Runtime is."""
    package, reason = install_onnxruntime()
    skipped = {} if package else {"onnxruntime": reason}
    return [peer for peer in PEERS if peer not in skipped], skipped, str(package)


def run_child(row: Row, threads: int, folder: Path, options: argparse.Namespace, plan: dict) -> dict:
    """Measures in a process of its own; through a file, because a wrapper may print as well."""
    (folder / "plan.json").write_text(json.dumps(plan | {"row": asdict(row), "threads": threads}))
    command = [
        *shlex.split(os.environ.get("BENCH_WRAP", "")), sys.executable, str(Path(__file__).resolve()),
        options.chipshot, options.parity_embed, "--child", str(folder),
    ]
    subprocess.run(command, check=True)
    return json.loads((folder / "result.json").read_text())


def child(options: argparse.Namespace) -> int:
    folder = Path(options.child)
    plan = json.loads((folder / "plan.json").read_text())
    programs = [options.chipshot, options.parity_embed]
    result = measure_row(Row(**plan["row"]), plan["threads"], folder, programs, plan)
    (folder / "result.json").write_text(json.dumps(result))
    return 0


def chosen_rows(words: list[str]) -> list[Row]:
    if not words:
        return ROWS
    return [row for row in ROWS + SMOKE_ROWS if any(word in row.name for word in words)]


def judge(result: dict) -> list[str]:
    """What is wrong, apart from speed."""
    name = f"{Row(**result['row']).name} on {result['threads']} thread(s)"
    wrong = [
        f"{name}: {program}'s output is off by {error:.1e}, over {ERROR_LIMIT:.0e}"
        for program, error in result["errors"].items() if not error <= ERROR_LIMIT
    ]
    if not all(rate > 0 for way in result["ways"] for rate in way["chips_per_second"]):
        wrong.append(f"{name}: a rate is not positive")
    return wrong


def measure_all(options: argparse.Namespace, rows: list[Row], plan: dict) -> tuple[list[dict], list[str]]:
    """A measurement that fails does not cost those that follow it, nor --json those before it."""
    results: list[dict] = []
    wrong: list[str] = []
    for row in rows:
        with tempfile.TemporaryDirectory() as name:
            row_plan = plan | prepare(row, Path(name), "onnxruntime" in plan["peers"])
            for threads in options.threads:
                try:
                    result = summarise(run_child(row, threads, Path(name), options, row_plan))
                except subprocess.CalledProcessError as error:
                    wrong.append(f"{row.name} on {threads} thread(s): measuring ended with {error.returncode}")
                    continue
                if not results:
                    print_head(rows, plan, result["versions"], result["kernels"])
                print_line(cells_of(result))
                results.append(result)
                wrong += judge(result)
                if options.json:
                    Path(options.json).write_text(json.dumps({"plan": plan, "results": results}, indent=1) + "\n")
    return results, wrong


def print_summary(results: list[dict]) -> None:
    if not results:
        return
    restless, disturbed = (max(result["quiet"][key] for result in results) for key in ("restless", "disturbed"))
    missed = sum(result["goal_met"] is False for result in results)
    known = sum(result["goal_met"] is not None for result in results)
    print(f"\nGoals met: {known - missed} of {known}. Fewest rounds kept: {min(r['quiet']['rounds'] for r in results)}."
          f" Of a processor, a peer used at most {100 * restless:.0f} % while another had its turn,"
          f" and all other programs at most {100 * disturbed:.0f} %.")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="chipshot's encoder against ONNX Runtime and PyTorch")
    parser.add_argument("chipshot")
    parser.add_argument("parity_embed")
    parser.add_argument("--rows", nargs="+", default=[], metavar="WORD", help="rows whose names contain one of these")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--round-ms", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=35, help="begin no round after so long, once three are done")
    parser.add_argument("--json", metavar="FILE", help="all figures of all rounds")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    sys.path.insert(0, str(HERE.parent / "parity"))
    if options.child:
        return child(options)
    rows = chosen_rows(options.rows)
    if not rows:
        print(f"peers.py: no row matches; there are {' '.join(row.name for row in ROWS + SMOKE_ROWS)}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None:
        print("bench-peers skipped: PyTorch, which makes the weights and the right answers, is not installed")
        return 0
    peers, skipped, package = peers_here()
    plan = {"peers": peers, "skipped": skipped, "onnxruntime": package, "rounds": options.rounds,
            "round_ms": options.round_ms, "seconds": options.seconds}
    results, wrong = measure_all(options, rows, plan)
    print_summary(results)
    for line in wrong:
        print(f"peers.py: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
