#!/usr/bin/env python3
"""How long the pictures of a result of 2560 x 2560 pixels take, through the real service on one core: `make bench-pictures`.

Median of the time until the answer is there, and of the processor's time that the server had, which does not tell of
other programs; and what the latter is of the time that zlib takes alone to compress the overlay's pixels at level 3, in
this process, which is how they were written once. The goal is 60 ms of the processor for the label map and the overlay,
each of the image's size, together. Exit status 1 above it.

Usage: pictures.py CHIPSHOT [--rounds N] [--limit-ms N]. Standard library only.
"""
from __future__ import annotations

import argparse
import pathlib
import statistics
import struct
import sys
import time
import zlib

import click

SIDE = 2560
PICTURES = {
    "labels, a pixel a cell": "labels.png",
    "labels, size of the image": "labels.png?size=image",
    "overlay, size of the image": f"overlay.png?max_side={SIDE}",
    "overlay, 2048": "overlay.png",
    "overlay, contours, legend": f"overlay.png?max_side={SIDE}&style=contour&legend=true",
    "probability, size of the image": "probability/0.png?size=image",
}
LABELS, OVERLAY = "labels, size of the image", "overlay, size of the image"


def to_rgb(png: bytes) -> bytes:
    """Of an indexed PNG whose rows are not filtered: the rows as they would stand in an RGB one."""
    at, data, palette = 8, b"", b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        body = png[at + 8:at + 8 + length]
        data, palette = (data + body, palette) if kind == b"IDAT" else (data, body if kind == b"PLTE" else palette)
        at += length + 12
    rows = zlib.decompress(data)
    out = bytearray(3 * SIDE * SIDE)
    pixels = b"".join(rows[y * (SIDE + 1) + 1:(y + 1) * (SIDE + 1)] for y in range(SIDE))
    for channel in range(3):
        out[channel::3] = pixels.translate(palette[channel::3].ljust(256, b"\0"))
    return bytes(out)


def zlib_ms(rgb: bytes) -> float:
    # Filtered by "up", as PNG rows are.
    row = 3 * SIDE
    above = int.from_bytes(bytes(row) + rgb[:-row], "little")
    filtered = bytes((a - b) & 255 for a, b in zip(rgb, above.to_bytes(len(rgb), "little")))
    begin = time.process_time()
    zlib.compress(filtered, 3)
    return (time.process_time() - begin) * 1e3


def processor_ms(process: int) -> float:
    tasks = pathlib.Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


def measure(server: click.Server, client: click.Client, path: str, rounds: int) -> tuple[float, float, int, bytes]:
    """Medians of milliseconds by the clock and of the processor, the size, and the picture."""
    walls, works, data = [], [], b""
    for _ in range(rounds):
        begin, before = time.perf_counter(), processor_ms(server.process.pid)
        data = client.ask("GET", path)
        walls.append((time.perf_counter() - begin) * 1e3)
        works.append(processor_ms(server.process.pid) - before)
    return statistics.median(walls), statistics.median(works), len(data) >> 10, data


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("chipshot")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit-ms", type=float, default=60)
    options = parser.parse_args()
    click.SIDE = SIDE
    server = click.Server(options.chipshot)
    try:
        client = click.Client(server.port)
        project = click.Project(client, "dense", 1)
        client.ask("GET", f"/v1/images/{project.image}/preview.png")  # the view is made
        too_slow, reference = False, 0.0
        for stride in (click.CHIP, click.CHIP // 4):
            base = f"{project.run(stride)}/results/{project.image}"
            found = {name: measure(server, client, f"{base}/{path}", options.rounds) for name, path in PICTURES.items()}
            reference = reference or zlib_ms(to_rgb(found[OVERLAY][3]))
            print(f"stride {stride}, zlib alone {reference:.0f} ms\n")
            print("| picture | ms | ms of the processor | of zlib's | KiB |\n| --- | ---: | ---: | ---: | ---: |")
            for name, (wall, work, size, _) in found.items():
                print(f"| {name} | {wall:.1f} | {work:.1f} | {work / reference:.2f} | {size} |")
            both = found[LABELS][1] + found[OVERLAY][1]
            print(f"\nlabel map and overlay together: {both:.1f} ms of the processor\n", flush=True)
            too_slow = too_slow or both > options.limit_ms
    finally:
        server.end()
    return 1 if too_slow else 0


if __name__ == "__main__":
    sys.exit(main())
