#!/usr/bin/env python3
"""From a click to the new labels of a 2048 x 2048 image, through the real service on one core: `make bench-click`.

A click is one example more: a new version of the support set, a job over the image (`Prefer: wait`), and its label
map. The server has one worker thread and is bound, as a whole, to one CPU; the client runs beside it. The first job
encodes the image; the clicks fall on chips of the grid, anywhere off it, near the image's corners and at its edges.
Printed, for stride = chip and stride = chip/4: median, 95th percentile and maximum of each class of places, to the
map's arrival and to the job's end; which request and which phase of the job (of /metrics) takes how long; and what
another stride and another offset take beside the first job. In the end a job is run once more after the cache was
deleted, which must give the same picture.

Usage: click.py CHIPSHOT [--clicks N] [--encoding dense|chips] [--seed N] [--limit-ms N]. Exit status 1 when the
median of a class is above the limit (50 ms) at stride = chip, or the pictures differ. Standard library only.
"""
from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

SIDE = 2048
CHIP = 64
BLOCK = 256  # the drawn image's textures change from block to block
PER_CLASS = 5  # examples before the first click
REQUESTS = ("support set", "job", "labels.png")

# ---- the image ----


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def texture(x: int, y: int) -> int:
    """Of the block at a pixel: 0 noise, 1 stripes, 2 a smooth ground."""
    return (x // BLOCK + y // BLOCK) % 3


def draw(seed: int) -> bytes:
    """A PNG, grey, 8 bits. Noise is scaled by tables, since nothing here may take seconds."""
    noise = random.Random(seed)
    full = bytes(range(256))
    tables = [full, None, bytes(112 + v // 8 for v in full)]
    stripes = [bytes(base + v // 4 for v in full) for base in (40, 150)]
    rows = []
    for y in range(SIDE):
        row = b"\0"
        for x in range(0, SIDE, BLOCK):
            data, table = noise.randbytes(BLOCK), tables[texture(x, y)]
            row += data.translate(table if table is not None else stripes[(y // 6) % 2])
        rows.append(row)
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows), 1)) +
            chunk(b"IEND", b""))


# ---- server and client ----


class Server:
    def __init__(self, program: str):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="chipshot-click-"))
        self.data = self.directory / "data"
        cpus = sorted(os.sched_getaffinity(0))
        self.log = open(self.directory / "log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--data", str(self.data), "--threads", "1"],
            stdout=subprocess.PIPE, stderr=self.log, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus[:1]))
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        os.sched_setaffinity(0, cpus[1:] or cpus)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.directory)


class Client:
    def __init__(self, port: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json",
            **headers: str) -> bytes:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers["Content-Type"] = kind
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status not in (200, 201):
            sys.exit(f"click: {method} {path} gave {answer.status} {data[:300]!r}")
        return data

    def make(self, *arguments: object, **more: object) -> dict:
        return json.loads(self.ask(*arguments, **more))

    def phases(self) -> dict[str, float]:
        """Seconds of all jobs so far, and the chips encoded."""
        values = {}
        for line in self.ask("GET", "/metrics").decode().splitlines():
            if line.startswith("chipshot_job_phase_seconds_total{"):
                values[line.split('"')[1]] = float(line.rsplit(" ", 1)[1])
            elif line.startswith("chipshot_chips_encoded_total "):
                values["chips"] = float(line.rsplit(" ", 1)[1])
        return values


# ---- clicks ----


class Project:
    """One image and a support set that grows by a click at a time."""

    def __init__(self, client: Client, encoding: str, seed: int):
        self.client, self.encoding = client, encoding
        self.id = client.make("POST", "/v1/projects", {"name": "clicks"})["id"]
        self.image = client.make("POST", f"/v1/projects/{self.id}/images", draw(seed), kind="image/png")["id"]
        self.examples = [[], [], []]
        for place in range(SIDE // BLOCK * PER_CLASS):
            x, y = place % (SIDE // BLOCK) * BLOCK + CHIP, place // (SIDE // BLOCK) * BLOCK + CHIP
            if len(self.examples[texture(x, y)]) < PER_CLASS:
                self.add(x, y)
        self.set = client.make("POST", f"/v1/projects/{self.id}/support-sets", self.body())["id"]

    def body(self) -> dict:
        return {"name": "clicks", "chip": {"width": CHIP, "height": CHIP},
                "classes": [{"name": f"texture {i}", "examples": examples} for i, examples in enumerate(self.examples)]}

    def add(self, x: int, y: int) -> None:
        self.examples[texture(x + CHIP // 2, y + CHIP // 2)].append({"image_id": self.image, "x": x, "y": y})

    def corners(self) -> set[tuple[int, int]]:
        return {(example["x"], example["y"]) for examples in self.examples for example in examples}

    def put(self) -> None:
        self.client.ask("PUT", f"/v1/support-sets/{self.set}", self.body())

    def run(self, stride: int, offset: int = 0) -> str:
        """A job's path, once it has succeeded."""
        job = self.client.make("POST", f"/v1/projects/{self.id}/jobs", Prefer="wait=30", body={
            "support_set_id": self.set, "image_ids": [self.image], "stride": {"x": stride, "y": stride},
            "offset": {"x": offset, "y": offset}, "encoding": self.encoding})
        if job["state"] != "succeeded":
            sys.exit(f"click: a job is {job['state']}: {job}")
        return f"/v1/jobs/{job['id']}"

    def labels(self, job: str) -> bytes:
        return self.client.ask("GET", f"{job}/results/{self.image}/labels.png")

    def click(self, x: int, y: int, stride: int) -> list[float]:
        """The time after each of REQUESTS, in ms since the click."""
        self.add(x, y)
        times = [time.perf_counter()]
        self.put()
        times.append(time.perf_counter())
        job = self.run(stride)
        times.append(time.perf_counter())
        self.labels(job)
        times.append(time.perf_counter())
        return [(t - times[0]) * 1e3 for t in times[1:]]


def places(n: int, stride: int, seed: int, seen: set[tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
    """Corners of clicked chips, by class of place; no place twice, and none of those that were seen (which grows)."""
    draws = random.Random(seed)
    last = SIDE - CHIP

    def off_grid() -> int:
        return draws.randrange(0, last // stride) * stride + draws.randrange(1, stride)

    def corner() -> tuple[int, int]:
        near, far = draws.randrange(1, 8), last - draws.randrange(1, 8)
        return draws.choice([near, far]), draws.choice([near, far])

    def edge() -> tuple[int, int]:
        end, along = draws.choice([0, last]), off_grid()
        return draws.choice([(end, along), (along, end)])

    makers = {
        "on the grid": lambda: (draws.randrange(last // stride + 1) * stride,
                                draws.randrange(last // stride + 1) * stride),
        "off the grid": lambda: (off_grid(), off_grid()),
        "near a corner": corner,
        "at an edge": edge,
    }
    chosen: dict[str, list[tuple[int, int]]] = {name: [] for name in makers}
    for name, make in makers.items():
        while len(chosen[name]) < n:
            place = make()
            if place not in seen:
                seen.add(place)
                chosen[name].append(place)
    return chosen


# ---- what is measured ----


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def print_phases(before: dict[str, float], after: dict[str, float], n: int) -> None:
    parts = {name: (after[name] - before[name]) / n * 1e3 for name in after if name != "chips"}
    shown = ", ".join(f"{name} {ms:.2f}" for name, ms in parts.items() if ms >= 0.005)
    print(f"  the job's phases, ms a click: {shown}; chips encoded: {after['chips'] - before['chips']:.0f}")


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def measure(project: Project, stride: int, n: int, seed: int) -> float:
    """Clicks at one stride; the largest of the medians of the classes of places."""
    client = project.client
    seen = project.corners()
    chosen = places(n, stride, seed, seen)
    for x, y in places(2, stride, seed + 1, seen)["off the grid"]:
        project.click(x, y, stride)
    before = client.phases()
    mixed = [(name, place) for name, list_ in chosen.items() for place in list_]
    random.Random(seed).shuffle(mixed)
    times: dict[str, list[list[float]]] = {name: [] for name in chosen}
    for name, place in mixed:
        times[name].append(project.click(*place, stride))
    after = client.phases()
    n_windows = ((SIDE - CHIP) // stride + 1) ** 2
    print(f"stride {stride}, {n_windows} windows: click to labels.png, ms")
    print(f"  {'place':14} {'clicks':>6} {'median':>7} {'p95':>7} {'max':>7}   median until the job has ended")
    every = [t for list_ in times.values() for t in list_]
    for name, list_ in [*times.items(), ("all", every)]:
        totals, ends = [t[-1] for t in list_], [t[1] for t in list_]
        print(f"  {name:14} {len(list_):6} {statistics.median(totals):7.1f} {percentile(totals, .95):7.1f} "
              f"{max(totals):7.1f}   {statistics.median(ends):.1f}")
    medians = [statistics.median(t[i] - (t[i - 1] if i > 0 else 0) for t in every) for i in range(len(REQUESTS))]
    print("  medians of the requests, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in zip(REQUESTS, medians)))
    print_phases(before, after, len(every))
    sys.stdout.flush()
    return max(statistics.median(t[-1] for t in list_) for list_ in times.values())


def print_other_grids(project: Project, first_ms: float) -> None:
    before = project.client.phases()["chips"]
    for name, stride, offset in (("another stride (48)", 48, 0), ("another offset (21)", CHIP, 21)):
        ms = timed(lambda s=stride, o=offset: project.run(s, o))
        print(f"{name}: {ms:.0f} ms, {ms / first_ms:.2f} of the first job's {first_ms:.0f} ms")
    print(f"chips encoded for both: {project.client.phases()['chips'] - before:.0f}")


def is_same_without_cache(project: Project, server: Server) -> bool:
    """One more click, and its picture with the cache and after it was deleted."""
    project.add(777, 1234)
    project.put()
    pictures = [project.labels(project.run(CHIP))]
    shutil.rmtree(server.data / "cache")
    pictures.append(project.labels(project.run(CHIP)))
    same = pictures[0] == pictures[1]
    print("a click's map with the cache and after it was deleted:", "equal" if same else "DIFFERENT")
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chipshot")
    parser.add_argument("--clicks", type=int, default=15, help="in each class of places")
    parser.add_argument("--encoding", default="dense")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-ms", type=float, default=50)
    options = parser.parse_args()
    server = Server(options.chipshot)
    try:
        project = Project(Client(server.port), options.encoding, options.seed)
        first_ms = timed(lambda: project.run(CHIP))
        print(f"{SIDE} x {SIDE} px, chips of {CHIP} px, one core: the first job takes {first_ms:.0f} ms", flush=True)
        worst = measure(project, CHIP, options.clicks, options.seed)
        print_other_grids(project, first_ms)
        fine_ms = timed(lambda: project.run(CHIP // 4))
        print(f"stride {CHIP // 4} for the first time: {fine_ms:.0f} ms, {fine_ms / first_ms:.2f} of the first job's")
        measure(project, CHIP // 4, options.clicks, options.seed + 2)
        good = is_same_without_cache(project, server) and worst <= options.limit_ms
    finally:
        server.end()
    print(f"click: the slowest class of places has a median of {worst:.1f} ms at stride {CHIP}; the limit is "
          f"{options.limit_ms:.0f} ms")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
