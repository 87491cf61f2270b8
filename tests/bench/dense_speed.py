"""What dense encoding gains, as ratios of whole cold jobs on one image: `make bench-dense OLD=FILE`.

Usage: dense_speed.py NEW OLD [--encoder FILE] [--image FILE --support FILE] [--threads N] [--rounds N]
OLD is a program of the time before dense encoding, NEW the one to be measured, each with its own encoder unless one is
given. In each round follow one another: OLD, which encodes chips; NEW with chips; NEW dense; NEW dense with a quarter of
the chip from chip to chip. Each time `bench job` warms up once and takes the median of three jobs, which is what a server
does that has run before. Ratios are taken within a round, so that a slow spell of the machine meets all of them, and their
medians are printed. Standard library only.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

RATIOS = (
    ("stride = chip: OLD, chips / NEW, dense", "old", "dense"),
    ("stride = chip: NEW, chips / NEW, dense", "chips", "dense"),
    ("NEW, dense: stride = chip/4 / stride = chip", "finer", "dense"),
)


def bench(program: str, common: list[str], *more: str) -> dict:
    command = [program, "bench", "job", "--json", "--rounds", "3", *common, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"dense_speed.py: {' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def run_round(options: argparse.Namespace, common: list[str]) -> dict[str, dict]:
    new = options.new
    reports = {
        "old": bench(options.old, common),
        "chips": bench(new, common, "--encoding", "chips"),
        "dense": bench(new, common, "--encoding", "dense"),
    }
    stride = reports["dense"]["chip"]["width"] // 4
    reports["finer"] = bench(new, common, "--encoding", "dense", "--stride", str(stride))
    if not reports["old"]["image"] == reports["chips"]["image"] == reports["dense"]["image"]:
        raise SystemExit("dense_speed.py: the programs draw different images; give --image and --support")
    return reports


def print_table(rounds: list[dict[str, dict]]) -> None:
    image, chip = rounds[0]["dense"]["image"], rounds[0]["dense"]["chip"]
    print(f"{image['width']} x {image['height']} px, {image['chips']} chips of {chip['width']} x {chip['height']} px at "
          f"{rounds[0]['dense']['input_size']} px, {rounds[0]['dense']['threads']} thread(s), {len(rounds)} round(s)\n")
    print("| job | windows | cold, ms | encoding, ms of a thread | peak, MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    names = {"old": "OLD, chips", "chips": "NEW, chips", "dense": "NEW, dense", "finer": "NEW, dense, stride chip/4"}
    for key, name in names.items():
        reports = [reports[key] for reports in rounds]
        cold = statistics.median(report["cold"]["seconds"] for report in reports)
        encode = statistics.median(report["cold"]["parts"]["encode"] for report in reports)
        peak = max(report["memory"]["peak_rss_bytes"] for report in reports)
        print(f"| {name} | {reports[0]['image']['chips']} | {cold * 1e3:.1f} | {encode * 1e3:.1f} | {peak / 1e6:.0f} |")
    print("\n| ratio of cold jobs | median | smallest | largest |")
    print("| --- | ---: | ---: | ---: |")
    for name, above, below in RATIOS:
        ratios = [reports[above]["cold"]["seconds"] / reports[below]["cold"]["seconds"] for reports in rounds]
        print(f"| {name} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("new")
    parser.add_argument("old")
    parser.add_argument("--encoder", help="of both programs; default: each one's own")
    parser.add_argument("--image", help="default: the drawn one of 1,024 chips")
    parser.add_argument("--support", help="with --image")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.rounds < 1 or (options.image is None) != (options.support is None):
        parser.error("--rounds is at least 1, and --image and --support need each other")
    common = ["--threads", str(options.threads)]
    if options.encoder is not None:
        common += ["--encoder", options.encoder]
    if options.image is not None:
        common += ["--image", options.image, "--support", options.support]
    print_table([run_round(options, common) for _ in range(options.rounds)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
