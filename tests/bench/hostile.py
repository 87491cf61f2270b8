#!/usr/bin/env python3
"""What one client's dear requests do to another client's small ones, and to the end of the server.

One client (127.0.0.2) uploads an image whose compressed data goes on for gigabytes behind its last row, and uploads
and looks at one of 32768 x 8192 pixels that is a file of 300 KB: chips, previews, jobs that it cancels. Meanwhile
another one (127.0.0.1) works with an image of 64 x 48 pixels. Printed: how long the small requests took, how many
failed, and how long the server took to end at SIGTERM while all this went on, beside its drain timeout; then the
same end with one kind of the dear requests at a time.

Usage: hostile.py CHIPSHOT [SECONDS]. Exit status 1 when a small request failed or took a second at the 99th
percentile, or an end took longer than the drain timeout.
"""
import collections
import http.client
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

CHIPSHOT = sys.argv[1]
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 30
DRAIN_S = 5
P99_LIMIT_S = 1.0
SMALL = "127.0.0.1"
DEAR = "127.0.0.2"

# ---- files ----


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(size):
    """A zlib stream of `size` zeros, made of one compressed megabyte again and again."""
    def piece(n):
        packer = zlib.compressobj(9, wbits=-15)
        return packer.compress(bytes(n)) + packer.flush(zlib.Z_FULL_FLUSH)

    whole, rest = divmod(size, 1 << 20)
    end = zlib.compressobj(9, wbits=-15).flush()
    adler = struct.pack(">HH", size % 65521, 1)  # of zeros
    return b"\x78\xda" + piece(1 << 20) * whole + piece(rest) + end + adler


def png(width, height, n_bytes):
    """Grey, 8 bits, whose compressed data inflates to n_bytes zeros."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zeros(n_bytes)) + chunk(b"IEND", b"")


def small_png(seed):
    width, height = 64, 48
    rows = b"".join(b"\0" + bytes((x * 5 + y * 3 + seed + x * y) % 251 for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


ENDLESS = png(64, 64, 10 << 30)
LARGE = png(32768, 8192, 8192 * 32769)

# ---- server ----


class Server:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="chipshot-hostile-")
        self.log = open(pathlib.Path(self.directory, "log"), "w")
        self.process = subprocess.Popen(
            [CHIPSHOT, "serve", "--listen", "127.0.0.1:0", "--data", os.path.join(self.directory, "data"),
             "--drain-timeout", str(DRAIN_S)], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def end(self):
        """Seconds from SIGTERM to the end."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(600)
        seconds = time.monotonic() - start
        self.log.close()
        shutil.rmtree(self.directory)
        return seconds, status


class Client:
    def __init__(self, port, address):
        self.port, self.address, self.connection = port, address, None

    def ask(self, method, path, body=None, kind="application/json", headers=None):
        """Status and body; 0 when the connection broke."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120,
                                                         source_address=(self.address, 0))
        send = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if body is not None:
            send["Content-Type"] = kind
        try:
            self.connection.request(method, path, body, send)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return 0, b""

    def make(self, *arguments, **more):
        status, body = self.ask(*arguments, **more)
        if status not in (200, 201, 202):
            sys.exit(f"hostile: {arguments[:2]} gave {status} {body[:300]!r}")
        return json.loads(body)


def upload(client, project, data):
    return client.make("POST", f"/v1/projects/{project}/images", body=data, kind="image/png")["id"]


def support_set(client, project, image, size):
    places = [{"image_id": image, "x": x * size, "y": 0} for x in range(4)]
    return client.make("POST", f"/v1/projects/{project}/support-sets", body={
        "name": "s", "chip": {"width": size, "height": size},
        "classes": [{"name": "a", "examples": places[:2]}, {"name": "b", "examples": places[2:]}]})["id"]


# ---- the dear client ----

class Dear:
    """Threads that go on until stopped, each with one kind of request."""

    def __init__(self, server, kinds):
        self.server, self.stopped, self.counts = server, threading.Event(), collections.Counter()
        client = Client(server.port, DEAR)
        self.project = client.make("POST", "/v1/projects", body={"name": "dear"})["id"]
        self.image = upload(client, self.project, LARGE)
        self.set = support_set(client, self.project, self.image, 64)
        n_threads = {"endless": 4, "upload": 4, "chips": 16, "preview": 4, "jobs": 2}
        self.threads = [threading.Thread(target=self.run, args=(getattr(self, kind), kind), daemon=True)
                        for kind in kinds for _ in range(n_threads[kind])]
        for thread in self.threads:
            thread.start()

    def run(self, work, kind):
        client = Client(self.server.port, DEAR)
        step = 0
        while not self.stopped.is_set():
            status = work(client, step)
            self.counts[kind, status] += 1
            step += 1
            if status == 503:
                time.sleep(0.01)

    def endless(self, client, _):
        return client.ask("POST", f"/v1/projects/{self.project}/images", ENDLESS, "image/png")[0]

    def upload(self, client, step):
        other = LARGE[:-12] + chunk(b"tEXt", b"n\0%d %d" % (threading.get_ident(), step)) + LARGE[-12:]
        return client.ask("POST", f"/v1/projects/{self.project}/images", other, "image/png")[0]

    def chips(self, client, step):
        place = (threading.get_ident() + step * 7) % 2048
        return client.ask("GET", f"/v1/images/{self.image}/chips/{place},{place}.png?width=4&height=4")[0]

    def preview(self, client, step):
        return client.ask("GET", f"/v1/images/{self.image}/preview.png?max_side={256 + step % 2000}")[0]

    def jobs(self, client, _):
        status, body = client.ask("POST", f"/v1/projects/{self.project}/jobs",
                                  {"support_set_id": self.set, "image_ids": [self.image]})
        if status == 202:
            client.ask("POST", f"/v1/jobs/{json.loads(body)['id']}/cancel")
        return status

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(0.1)


KINDS = ["endless", "upload", "chips", "preview", "jobs"]

# ---- the small client ----


class Small:
    def __init__(self, server):
        self.client = Client(server.port, SMALL)
        self.project = self.client.make("POST", "/v1/projects", body={"name": "small"})["id"]
        self.image = upload(self.client, self.project, small_png(0))
        self.set = support_set(self.client, self.project, self.image, 16)
        job = self.client.make("POST", f"/v1/projects/{self.project}/jobs", headers={"Prefer": "wait=30"},
                               body={"support_set_id": self.set, "image_ids": [self.image]})
        self.job = job["id"]
        self.times, self.failures = collections.defaultdict(list), collections.Counter()

    def requests(self, step):
        result = f"/v1/jobs/{self.job}/results/{self.image}"
        return {
            "livez": ("GET", "/livez"),
            "readyz": ("GET", "/readyz"),
            "project": ("GET", f"/v1/projects/{self.project}"),
            "list": ("GET", f"/v1/projects/{self.project}/images"),
            "job": ("GET", f"/v1/jobs/{self.job}"),
            "csv": ("GET", result + ".csv"),
            "json": ("GET", result),
            "map": ("GET", result + "/labels.png"),
            "chip": ("GET", f"/v1/images/{self.image}/chips/1,1.png?width=16&height=16"),
            "preview": ("GET", f"/v1/images/{self.image}/preview.png?max_side={20 + step % 40}"),
            "upload": ("POST", f"/v1/projects/{self.project}/images", small_png(step + 1), "image/png"),
        }

    def work(self, seconds):
        end, step = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for name, request in self.requests(step).items():
                start = time.monotonic()
                status, _ = self.client.ask(*request)
                self.times[name].append(time.monotonic() - start)
                if status not in (200, 201):
                    self.failures[name, status] += 1
            step += 1


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def report(small):
    print(f"{'request':10} {'n':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    every = [value for values in small.times.values() for value in values]
    for name, values in [*small.times.items(), ("all", every)]:
        print(f"{name:10} {len(values):6} {percentile(values, .5) * 1000:8.1f} {percentile(values, .99) * 1000:8.1f} "
              f"{max(values) * 1000:8.1f}")
    print(f"failures of small requests: {sum(small.failures.values())} {dict(small.failures) or ''}")
    return percentile(every, .99)


def end_amid(kinds):
    """The end of a server while requests of these kinds run."""
    server = Server()
    dear = Dear(server, kinds)
    time.sleep(1)
    seconds, status = server.end()
    dear.stop()
    print(f"SIGTERM amid {', '.join(kinds)}: {seconds:.1f} s, status {status}, drain timeout {DRAIN_S} s", flush=True)
    return seconds <= DRAIN_S and status == 0


def main():
    server = Server()
    small, dear = Small(server), Dear(server, KINDS)
    small.work(SECONDS)
    p99 = report(small)
    print("dear requests by status:", ", ".join(f"{kind} {status}: {n}" for (kind, status), n in
                                                sorted(dear.counts.items())))
    seconds, status = server.end()
    dear.stop()
    print(f"SIGTERM amid all: {seconds:.1f} s, status {status}, drain timeout {DRAIN_S} s", flush=True)
    good = p99 < P99_LIMIT_S and not small.failures and seconds <= DRAIN_S and status == 0
    for kind in KINDS:
        good = end_amid([kind]) and good
    print("hostile:", "all within the limits" if good else "over the limits")
    sys.exit(0 if good else 1)


main()
