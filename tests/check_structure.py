#!/usr/bin/env python3
"""The laws of the house, checked over its source: who may include whom and which library, no circles, small rooms,
small files, small functions, a head on every file. Usage: check_structure.py [DIRECTORY]   (python3 alone)

Prints the file and the reason for each fault; exits non-zero then. A law is a line in one of the tables below.
"""
from __future__ import annotations

import re
import sys
from collections import defaultdict, deque
from fnmatch import fnmatch
from pathlib import Path, PurePath

# ---- tables ----

# Each layer, and those that it may include from.
LAYERS = {
    "base": (),
    "engine": ("base",),
    "db": ("base",),
    "api": ("base", "engine", "db"),
    "server": ("base", "engine", "db", "api"),
}
# Room, what its files may not include, why.
BORDERS = [
    ("server/worker/*", r"api/(?!limits\.h$|job/)", "worker and API share only api/limits.h and api/job/"),
    ("db/store/*", r"db/(?!store/|id\.h$|text\.h$)", "files and the cache know no rows"),
]
# Each foreign library, and the only files of the layers that may include it; `tests`: where beside them. A header
# that is neither here nor in the C library needs a line.
FOREIGN = {
    "microhttpd.h": ["server/http/http.c", "tests/bench/http_baseline.c"],
    "sqlite3.h": ["db/sql/stmt.c"],
    "png.h": ["engine/image/png_*", "tests/*"],
    "isa-l/": ["engine/image/png_rows.c", "engine/image/png_write.c"],
    "zlib.h": ["server/http/content_coding.c", "tests/*"],
    "jansson.h": ["engine/encoder/safetensors.c", "engine/encoder/encoder.c", "api/*", "server/cli/*", "tests/*"],
    "nettle/": ["db/*", "api/*", "tests/*"],
    "immintrin.h": ["engine/encoder/kernels/*", "engine/image/chip_bytes.c", "engine/image/png_rows.c", "tests/bench/*"],
    "emmintrin.h": ["engine/image/png_rows.c"],
    "arm_neon.h": ["engine/encoder/kernels/neon.c"],
    "curl/": ["tests/http/client.c"],
    "cmocka.h": ["tests/*"],
    "cblas.h": ["engine/linear.c", "tests/bench/roofline.c"],
    "dlfcn.h": ["engine/linear.c", "tests/*"],
    "malloc.h": ["base/memory.c"],
}
C_LIBRARY = re.compile(
    r"(sys|netinet|arpa|linux)/\w+\.h|(assert|ctype|dirent|errno|fcntl|float|ftw|getopt|glob|inttypes|limits|locale|math|"
    r"netdb|poll|pthread|sched|search|semaphore|setjmp|signal|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdnoreturn|stdio|stdlib|"
    r"string|strings|threads|time|unistd)\.h")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_UNITS_OF_A_ROOM = 20

faults: list[str] = []


def fault(text: str) -> None:
    faults.append(text)


# ---- reading ----

# A unit is a header with the file of its name: what others see as one thing.
def unit_of(path: str) -> str:
    return str(PurePath(path).with_suffix(""))


def without_comments(text: str) -> str:
    return re.sub(r'("(?:\\.|[^"\\\n])*")|/\*.*?\*/|//[^\n]*', lambda m: m[1] or re.sub(r"[^\n]", "", m[0]), text,
                  flags=re.S)


def read_sources(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for top in (*LAYERS, "tests")
            for path in sorted((root / top).rglob("*")) if path.suffix in (".c", ".h", ".inc")}


def includes(text: str) -> list[str]:
    return re.findall(r'^#include "([^"]+)"', text, re.M)


# ---- laws ----

def check_layers(path: str, text: str) -> None:
    layer = path.split("/")[0]
    for included in includes(text):
        if layer in LAYERS and included.split("/")[0] not in (layer, *LAYERS[layer]):
            fault(f"{path}: {layer}/ may not include {included}")
        for room, pattern, why in BORDERS:
            if fnmatch(path, room) and re.match(pattern, included):
                fault(f"{path}: may not include {included}: {why}")


def check_foreign(path: str, text: str) -> None:
    for header in re.findall(r"^#include <([^>]+)>", text, re.M):
        library = next((name for name in FOREIGN if header.startswith(name)), None)
        if library is None and not C_LIBRARY.fullmatch(header):
            fault(f"{path}: includes <{header}>, of which FOREIGN in {Path(__file__).name} says nothing")
        elif library and not any(fnmatch(path, place) for place in FOREIGN[library]):
            fault(f"{path}: includes <{header}>, the place of which is {FOREIGN[library][0]}")


def check_sizes(path: str, text: str) -> None:
    lines = text.split("\n")
    if len(lines) - 1 > MAX_FILE_LINES:
        fault(f"{path}: has {len(lines) - 1} lines, over {MAX_FILE_LINES}")
    start = None  # a function's braces stand alone at the start of a line
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            if number - start - 1 > MAX_FUNCTION_LINES:
                fault(f"{path}:{start}: a function of {number - start - 1} lines, over {MAX_FUNCTION_LINES}")
            start = None


def check_head(path: str, sources: dict[str, str]) -> None:
    if path.startswith("tests/"):  # a test's name says what it tests
        return
    text = sources[path]
    header = sources.get(unit_of(path) + ".h", "")
    if not text.startswith("/*") and not (path.endswith(".c") and header.startswith("/*")):
        fault(f"{path}: opens with no comment on what it is for, and neither does a header of its name")
    if re.match(r"/\* See \S+\.h\. \*/", text):
        fault(f"{path}: its head only names its header, as its name does")


def check_rooms(sources: dict[str, str]) -> None:
    units = defaultdict(set)
    for path in sources:
        units[str(PurePath(path).parent)].add(unit_of(path))
    for room, found in units.items():
        if len(found) > MAX_UNITS_OF_A_ROOM:
            fault(f"{room}/: holds {len(found)} units, over {MAX_UNITS_OF_A_ROOM}: give it rooms")
        mirrored = room.removeprefix("tests/unit/")
        if mirrored != room and mirrored not in units:
            fault(f"{room}/: mirrors no room of the tree")


# ---- circles ----

Graph = dict[str, dict[str, str]]  # from, to, why


def calls(sources: dict[str, str]) -> Graph:
    """Which unit uses a function or table that another defines. Includes would hide it where several files implement
    one header, and would see types, which need no order."""
    bodies = {path: re.sub(r'"(?:\\.|[^"\\\n])*"', '""', without_comments(text)) for path, text in sources.items()
              if path.endswith(".c") and not path.startswith("tests/")}
    owners = {}
    for path, text in bodies.items():
        private = ["static", *re.findall(r"^#define (\w+) .*\bstatic\b", text, re.M)]
        for line, name in re.findall(r"^((?!typedef)\w[^\n;{}=()]*?\b(\w+))\([^;{}]*\)\s*\n\{", text, re.M):
            if not re.search(rf"\b({'|'.join(private)})\b", line):
                owners[name] = unit_of(path)
        for name in re.findall(r"^const [^\n;()]*?\b(\w+)(?:\[\w*\])* = ", text, re.M):
            owners[name] = unit_of(path)
    graph: Graph = defaultdict(dict)
    for path, text in bodies.items():
        # Neither members nor the tags of types.
        for name in sorted(set(re.findall(r"(?<![.>])(?<!struct )(?<!enum )\b[a-z]\w+\b", text))):
            if owners.get(name, unit_of(path)) != unit_of(path):
                graph[unit_of(path)].setdefault(owners[name], f"uses {name}")
    return graph


def headers(sources: dict[str, str]) -> Graph:
    graph: Graph = defaultdict(dict)
    for path, text in sources.items():
        for included in includes(text):
            if path.endswith((".h", ".inc")) and included != path:
                graph[path][included] = "includes it"
    return graph


def way(graph: Graph, start: str, end: str) -> list[str] | None:
    """The shortest way, without its start."""
    before = {start: ""}
    queue = deque([start])
    while queue:
        at = queue.popleft()
        for to in sorted(graph.get(at, ())):
            if to == end:
                path = [to]
                while at != start:
                    path.insert(0, at)
                    at = before[at]
                return path
            if to not in before:
                before[to] = at
                queue.append(to)
    return None


def check_circles(graph: Graph) -> None:
    seen: set[str] = set()
    for start in sorted(graph):
        path = way(graph, start, start)
        if path is None or start in seen:
            continue
        seen.update(path)
        steps = [f"{a} -> {b} ({graph[a][b]})" for a, b in zip([start, *path], path)]
        fault(f"circle: {', '.join(steps)}")


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent)
    sources = read_sources(root)
    for path, text in sources.items():
        check_layers(path, text)
        check_foreign(path, text)
        check_sizes(path, text)
        check_head(path, sources)
    check_rooms(sources)
    check_circles(calls(sources))
    check_circles(headers(sources))
    for text in faults:
        print(text)
    print(f"structure: {len(sources)} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
