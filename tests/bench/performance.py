"""Measures again and writes the tables of docs/performance.md: `make performance`.

Usage: performance.py DOCUMENT BUILD [SECTION...]
A section is what stands between the marks "<!-- NAME: begin, ..." and "<!-- NAME: end -->" and is replaced by what its
program prints; all of them when none is named. One that fails leaves its table as it was, and the exit status tells.
BENCH_WRAP (a command with its arguments) runs each measurement.
"""
from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path


def commands(build: str) -> dict[str, list[str]]:
    wrap = shlex.split(os.environ.get("BENCH_WRAP", ""))
    chipshot = f"{build}/chipshot"
    return {
        "roofline": [*wrap, f"{build}/tests/bench/roofline"],
        # Wraps its own measurements, one row at a time.
        "peers": [sys.executable, "tests/bench/peers.py", chipshot, f"{build}/tests/parity/parity_embed"],
        "work": [sys.executable, "tests/bench/work.py"],
        "layers": [*wrap, chipshot, "bench", "encoder", "--arch", "resnet18", "--size", "64", "--layers"],
    }


def replace(document: Path, section: str, text: str) -> None:
    pattern = re.compile(rf"(<!-- {section}: begin, [^\n]*-->\n).*?(<!-- {section}: end -->)", re.DOTALL)
    # Read again for each section: measuring takes minutes, in which somebody may have edited the text.
    old = document.read_text()
    new, n = pattern.subn(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", old)
    if n != 1:
        raise SystemExit(f"performance.py: {document} has {n} sections '{section}'")
    document.write_text(new)


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    document, build, wanted = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    known = commands(build)
    unknown = set(wanted) - set(known)
    if unknown:
        print(f"performance.py: no section {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    # The programs choose their kernels themselves, as a user's do.
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    failed = []
    for section in wanted or known:
        done = subprocess.run(known[section], stdout=subprocess.PIPE, text=True, env=environment, check=False)
        print(done.stdout, flush=True)
        if done.returncode == 0:
            replace(document, section, done.stdout)
        else:
            failed.append(section)
    if failed:
        print(f"performance.py: failed and not replaced: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
