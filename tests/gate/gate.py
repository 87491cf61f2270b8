#!/usr/bin/env python3
"""HTTP over bare sockets: sends the bytes of each case to the real program and compares what comes back.

Usage: gate.py PROGRAM [CASE...]   (a case by its name or file; default: all of cases/). Python's standard library alone.
Prints each case that fails with what was sent, expected and received, then the number of cases and the library's version;
exits non-zero when one failed. cases/README.md describes the files.
"""
from __future__ import annotations

import ctypes
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).resolve().parent / "cases"
PATIENCE_S = 20
PARALLEL = 8
PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*\r\n((?:[!#-'*+.^_`|~\w-]+: [ -~\x80-\xff]*\r\n)*)\r\n")


# ---- case files ----

@dataclass
class Case:
    name: str
    why: str
    steps: list[tuple[str, bytes]]  # ("send", bytes), ("wait", status), ("end", b"")
    expected: dict[str, str]
    head: list[str] = field(default_factory=list)
    no_head: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)


ESCAPE = re.compile(r"\\(?:([rnt0\\])|x([0-9A-Fa-f]{2})|\(([0-9]+)\*((?:[^)\\]|\\.)*)\)|\((token)\))|(\\)")
PLAIN = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def unescape(text: str, token: str) -> bytes:
    """ASCII with \\r \\n \\t \\0 \\\\ \\xHH, \\(N*TEXT) for N times TEXT, and \\(token)."""
    def one(match: re.Match[str]) -> str:
        plain, code, times, repeated, is_token, stray = match.groups()
        if stray:
            raise ValueError(f"not an escape: {text[match.start():match.start() + 10]}")
        if plain:
            out = PLAIN[plain]
        elif code:
            out = bytes([int(code, 16)])
        elif is_token:
            out = token.encode()
        else:
            out = unescape(repeated, token) * int(times)
        return out.decode("latin-1")
    return ESCAPE.sub(one, text).encode("latin-1")


def read_case(path: Path, version: str, token: str) -> Case:
    case = Case(path.stem, "", [], {})
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        if not line or line.startswith("#"):
            case.why += line[1:].strip() + " " if line else ""
        elif line.startswith("> "):
            case.steps.append(("send", unescape(line[2:], token)))
        elif line == "end":
            case.steps.append(("end", b""))
        elif match := re.fullmatch(r"wait: (\d{3})", line):
            case.steps.append(("wait", match[1].encode()))
        elif match := re.fullmatch(r"(head|no head|body): (.*)", line):
            {"head": case.head, "no head": case.no_head, "body": case.body}[match[1]].append(match[2])
        elif match := re.fullmatch(r"(answers|kind|closed|server|bodiless)(?: \[([\d.]+)\])?: (.*)", line):
            if match[2] is None or version.startswith(match[2]):
                case.expected[match[1]] = match[3]
        else:
            raise ValueError(f"{path}:{number}: what is {line!r}?")
    for needed in ("answers", "closed"):
        if needed not in case.expected:
            raise ValueError(f"{path}: no '{needed}:' for libmicrohttpd {version}")
    return case


# ---- what comes back ----

@dataclass
class Answer:
    status: int
    head: str
    body: bytes


def split_chunks(data: bytes) -> tuple[bytes, int] | None:
    """The content and where the last chunk ends; None when it has not come."""
    body, at = b"", 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        if len(data) < end + 2 + size + 2:
            return None
        body += data[end + 2:end + 2 + size]
        at = end + 2 + size + 2
        if size == 0:
            return body, at
    return None


def split_answer(data: bytes, bodiless: bool) -> tuple[Answer, bytes] | None:
    """The first answer and the bytes behind it; None when it is not complete or is none."""
    match = HEAD.match(data)
    if match is None:
        return None
    status, head, rest = int(match[1]), match[2].decode("latin-1"), data[match.end():]
    if bodiless or status < 200 or status in (204, 304):
        return Answer(status, head, b""), rest
    if re.search(r"(?im)^transfer-encoding: chunked", head):
        chunks = split_chunks(rest)
        return chunks and (Answer(status, head, chunks[0]), rest[chunks[1]:])
    length = re.search(r"(?im)^content-length: (\d+)", head)
    if length is None or len(rest) < int(length[1]):
        return None
    return Answer(status, head, rest[:int(length[1])]), rest[int(length[1]):]


class Link:
    """A connection: what was sent and what came."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = self.received = b""
        self.at_end = False

    def send(self, data: bytes) -> None:
        self.sent += data
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may answer and close before it has read all

    def read(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, TimeoutError, socket.timeout):
            data = b""
        self.received += data
        self.at_end = not data
        return not self.at_end

    def answers(self, bodiless: bool) -> tuple[list[Answer], bytes]:
        found: list[Answer] = []
        rest = self.received
        while (part := split_answer(rest, bodiless)) is not None:
            found.append(part[0])
            rest = part[1]
        return found, rest


def run_steps(link: Link, case: Case, bodiless: bool) -> str | None:
    for kind, data in case.steps:
        if kind == "send":
            link.send(data)
        elif kind == "end":
            link.socket.shutdown(socket.SHUT_WR)
        else:
            while int(data) not in [answer.status for answer in link.answers(bodiless)[0]]:
                if not link.read():
                    return f"waited for {data.decode()} in vain"
    return None


def check_last(case: Case, answer: Answer) -> str | None:
    kind = case.expected.get("kind")
    if kind == "problem":
        if "application/problem+json" not in answer.head:
            return "the answer is no problem document"
        if not case.expected.get("bodiless") and json.loads(answer.body)["status"] != answer.status:
            return "the problem document names another status"
    for pattern in case.head:
        if not re.search(pattern, answer.head, re.I | re.M):
            return f"the head lacks {pattern}"
    for pattern in case.no_head:
        if re.search(pattern, answer.head, re.I | re.M):
            return f"the head has {pattern}"
    for pattern in case.body:
        if not re.search(pattern, answer.body.decode("latin-1")):
            return f"the body lacks {pattern}"
    if case.expected["closed"] == "yes" and not re.search(r"(?im)^connection: close\r?$", answer.head):
        return "the last answer does not say Connection: close"
    return None


def judge(link: Link, case: Case) -> str | None:
    """What is wrong; None when all is as expected."""
    bodiless = case.expected.get("bodiless") == "yes"
    wanted = [] if case.expected["answers"] == "none" else [int(word) for word in case.expected["answers"].split()]
    fault = run_steps(link, case, bodiless)
    if fault is not None:
        return fault
    stays = case.expected["closed"] == "no"
    while not link.at_end and not (stays and len(link.answers(bodiless)[0]) >= len(wanted)):
        link.read()
    answers, rest = link.answers(bodiless)
    if [answer.status for answer in answers] != wanted:
        return f"the answers are {[answer.status for answer in answers]}"
    if rest:
        return "there is more behind the last answer"
    if stays and link.at_end:
        return "the connection was closed"
    if wanted and (fault := check_last(case, answers[-1])) is not None:
        return fault
    return probe(link) if stays else None


def probe(link: Link) -> str | None:
    """The connection is good for one more request, and nothing else comes before its answer."""
    link.received = b""
    link.send(PROBE)
    while not (found := link.answers(False)[0]) and link.read():
        pass
    if len(found) != 1 or found[0].status != 200:
        return "the next request on the connection is not answered as it should"
    return None


# ---- the program ----

class Server:
    def __init__(self, program: str, with_keys: bool) -> None:
        self.directory = tempfile.mkdtemp(prefix="gate.")
        self.token = ""
        data = self.directory + "/data"
        if with_keys:
            made = subprocess.run([program, "key", "create", "gate", "--data", data], check=True, capture_output=True, text=True)
            self.token = made.stdout.strip()
        self.log = open(self.directory + "/log", "w+")
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--data", data, "--threads", "1", "--max-json-size", "4K",
             "--max-connections", "64"], stderr=self.log, stdout=self.log)
        self.port = self.wait_port()

    def wait_port(self) -> int:
        while self.process.poll() is None:
            with open(self.directory + "/log") as log:
                if match := re.search(r"http://127\.0\.0\.1:(\d+)", log.read()):
                    return int(match[1])
        raise SystemExit("gate: the program does not start:\n" + Path(self.directory + "/log").read_text())

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.directory)
        return status


def library_version(program: str) -> str:
    linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    library = ctypes.CDLL(re.search(r"=> (\S*libmicrohttpd\S*)", linked)[1])
    library.MHD_get_version.restype = ctypes.c_char_p
    return library.MHD_get_version().decode()


def shorten(data: bytes) -> str:
    text = repr(data)[2:-1].replace("\\r\\n", "\\r\\n\n             ")
    return text if len(text) < 3000 else text[:1500] + f" ... ({len(data)} bytes)"


def run_case(case: Case, servers: dict[str, Server]) -> str | None:
    link = Link(servers[case.expected.get("server", "open")].port)
    try:
        fault = judge(link, case)
    except (ValueError, KeyError, OSError) as problem:
        fault = f"cannot be judged: {problem!r}"
    finally:
        link.socket.close()
    if fault is None:
        return None
    expected = "\n             ".join(f"{key}: {value}" for key, value in case.expected.items())
    return (f"FAIL {case.name}: {fault}\n  why:       {case.why}\n  sent:      {shorten(link.sent)}\n"
            f"  expected:  {expected}\n  received:  {shorten(link.received) or 'nothing'}")


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    program = sys.argv[1]
    paths = [CASES / (Path(name).stem + ".case") for name in sys.argv[2:]] or sorted(CASES.glob("*.case"))
    version = library_version(program)
    servers = {"open": Server(program, False), "keys": Server(program, True)}
    try:
        cases = [read_case(path, version, servers["keys"].token) for path in paths]
        with ThreadPoolExecutor(PARALLEL) as pool:
            faults = [fault for fault in pool.map(lambda case: run_case(case, servers), cases) if fault is not None]
    finally:
        stopped = [server.stop() for server in servers.values()]
    faults += ["FAIL the program did not end as it should"] if any(stopped) else []
    print("\n".join(faults + [f"gate: {len(cases)} cases, {len(faults)} failed, libmicrohttpd {version}"]))
    return 1 if faults or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
