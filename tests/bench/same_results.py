#!/usr/bin/env python3
"""Do two builds of chipshot give the same bytes? For a change that must not change any result.

Usage: same_results.py OLD NEW [BUT]   (the programs; python3 and its standard library)

The demo's three images and jobs with their options varied go through both services, each in a data directory of
its own. Compared, byte for byte: the answers about the job, its images and support set, results as JSON and CSV,
maps, probabilities and pictures. Then NEW opens OLD's directory: it must serve what OLD served, and the same jobs,
run again there, must come out the same, whether or not it finds embeddings that OLD has cached. Last, `simulate` and
`classify` of both write the same files. Prints a line a job; exits non-zero unless all are equal.

Members of a JSON object, and files, that only NEW has are no difference: additions are allowed. BUT is a regular expression of
paths that are not compared, for what a change draws anew on purpose ("preview|overlay").
"""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from drawn_pngs import images

# What differs from run to run: ids (ULIDs), times, versions.
ID = re.compile(rb"\b(prj|img|sup|job|enc)_[0-9A-HJKMNP-TV-Z]{26}\b")
TIME = re.compile(rb"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
BUT = sys.argv[3] if len(sys.argv) > 3 else ""
VERSION = re.compile(rb'("version": ?)"[^"]*"')

NOT_DONE = "not done"

Answers = dict[str, bytes]


# ---- jobs ----

@dataclass
class Job:
    name: str
    images: list[str]  # the examples lie on the first
    options: dict = field(default_factory=dict)
    chip: tuple[int, int] = (32, 32)
    corners: dict[str, list[tuple[int, int]]] | None = None  # None: one of each texture
    support: dict | None = None  # a support set as `simulate` writes it, instead of chip and corners
    refusable: bool = False  # 422 is an answer to compare, and no fault of these jobs

    def support_set(self, image_id: str) -> dict:
        corners = self.corners or {"stripes": [(0, 0), (32, 32), (64, 64)], "noise": [(160, 0), (192, 32), (160, 64)],
                                   "slope, smooth": [(32, 144), (96, 150)]}
        support = self.support or {
            "chip": dict(zip(("width", "height"), self.chip)),
            "classes": [{"name": name, "examples": [{"x": x, "y": y} for x, y in places]}
                        for name, places in corners.items()]}
        return {"name": self.name, "chip": support["chip"], "classes": [
            {**c, "examples": [{**e, "image_id": image_id} for e in c["examples"]]} for c in support["classes"]]}


def varied_jobs() -> list[Job]:
    far = {"stripes": [(0, 0), (512, 1024)], "noise": [(4500, 0), (6000, 512)]}
    off = {"stripes": [(5, 7), (41, 3)], "noise": [(150, 11), (201, 53)], "slope": [(17, 151)]}
    return [
        Job("stride 16", ["grey"], {"stride": 16}),
        Job("stride, offset, edge cover", ["grey"],
            {"stride": {"x": 19, "y": 27}, "offset": {"x": 5, "y": 3}, "edge": "cover"}),
        Job("examples off the grid", ["grey"], {"edge": "cover"}, corners=off),
        Job("unequal chips", ["grey"], {"stride": {"x": 12, "y": 20}}, chip=(24, 40)),
        Job("chips larger than the input", ["grey"], {"stride": 8}, chip=(64, 48),
            corners={"stripes": [(0, 0), (32, 16)], "noise": [(160, 0), (180, 40)]}),
        Job("normalise by minmax", ["16-bit"], {"normalise": {"method": "minmax"}, "stride": 24}),
        Job("normalise by percentiles 2 and 90", ["16-bit"], {"normalise": {"low": 2, "high": 90}, "stride": 24}),
        Job("normalise by none", ["grey"], {"normalise": {"method": "none"}, "stride": 24}),
        Job("CLAHE", ["16-bit"], {"clahe": {"clip_limit": 3, "tiles": 4}, "stride": 20}),
        Job("cosine, l2", ["grey"], {"classifier": {"distance": "cosine", "transform": "l2"}}),
        Job("euclidean, cl2n, temperature 0.5", ["filtered"],
            {"classifier": {"transform": "cl2n", "temperature": 0.5}, "stride": 16}),
        Job("cosine, no transform, temperature 7", ["filtered"],
            {"classifier": {"distance": "cosine", "transform": "none", "temperature": 7}, "stride": 16}),
        Job("two input sizes", ["grey"], {"input_sizes": [24, 48], "stride": 24}),
        Job("three input sizes, edge cover", ["interlaced"], {"input_sizes": [16, 33, 64], "edge": "cover"}),
        Job("bfloat16", ["grey"], {"precision": "bfloat16", "stride": 24}, refusable=True),
        Job("int8", ["filtered"], {"precision": "int8", "stride": 24}, refusable=True),
        Job("several images", ["grey", "16-bit", "RGB", "palette"], {"stride": 20}),
        Job("RGB with CLAHE", ["RGB"], {"clahe": {}, "stride": 20}),
        Job("palette", ["palette"], {"stride": 20, "edge": "cover"}),
        Job("interlaced", ["interlaced"], {"stride": 20}),
        Job("grey with alpha", ["grey-alpha"], {"stride": 20}),
        Job("1 bit", ["1-bit"], {"stride": 20}),
        Job("examples on an image that is not in the job", ["16-bit", "filtered"], {"stride": 20, "left_out": 1}),
        Job("large image, read in parts", ["large"], {"stride": 512}, chip=(512, 512), corners=far),
        Job("refused: a stride of 0", ["grey"], {"stride": 0}, refusable=True),
    ]


def demo_jobs(old: str, work: Path, pictures: dict[str, bytes]) -> list[Job]:
    folders = {}
    for scene in ("perovskite-on-diamond", "ordered-oxide"):
        folders[scene] = work / scene
        subprocess.run([old, "simulate", "--scene", scene, "--out", folders[scene]], check=True)
        pictures[scene] = (folders[scene] / "image.png").read_bytes()
    real = Path(os.environ.get("CHIPSHOT_SHARED", "../shared")) / "data/sto-ge"
    if (real / "sto-ge-haadf.png").is_file():
        folders["sto-ge"] = real
        pictures["sto-ge"] = (real / "sto-ge-haadf.png").read_bytes()
    else:
        print("skipped: the STO/Ge micrograph is absent (set CHIPSHOT_SHARED)")
    return [Job(name, [name], support=json.loads((folder / "support.json").read_text()))
            for name, folder in folders.items()]


# ---- a service ----

class Service:
    def __init__(self, program: str, data: Path):
        self.process = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--data", data,
                                         "--log-level", "warn"], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1:]
        if not self.url:
            raise SystemExit(f"same-results: {program} did not start on {data}")
        self.url = self.url[0]

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def ask(self, path: str, body: bytes | dict | None = None, kind: str = "application/json",
            **headers: str) -> bytes:
        """Status, media type and body of an answer."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind, **headers})
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return f"{answer.status} {answer.headers['Content-Type']}\n".encode() + answer.read()

    def json(self, path: str, body: bytes | dict | None = None, kind: str = "application/json", **headers: str) -> dict:
        return json.loads(self.ask(path, body, kind, **headers).split(b"\n", 1)[1])

    def upload(self, pictures: dict[str, bytes]) -> tuple[str, dict[str, str]]:
        project = self.json("/v1/projects", {"name": "same results"})["id"]
        return project, {name: self.json(f"/v1/projects/{project}/images?name={name}", data, "image/png")["id"]
                         for name, data in pictures.items()}

    def run(self, job: Job, project: str, ids: dict[str, str]) -> tuple[list[str], Answers]:
        """Makes a support set and runs a job to its end; where what can be read about it is, and what is said once."""
        support = self.json(f"/v1/projects/{project}/support-sets", job.support_set(ids[job.images[0]]))
        options = dict(job.options)
        chosen = [ids[name] for name in job.images[options.pop("left_out", 0):]]
        path = f"/v1/projects/{project}/jobs"
        said = self.ask(path, {"support_set_id": support["id"], "image_ids": chosen, **options})
        made = json.loads(said.split(b"\n", 1)[1])
        while made.get("state") in ("queued", "running"):
            made = self.json(f"/v1/jobs/{made['id']}", Prefer="wait=30")
        if made.get("state") == "succeeded":
            return self.paths(made), {}
        return [], {"refusal": normalise(said)} if job.refusable else {NOT_DONE: json.dumps(made).encode()}

    def paths(self, job: dict) -> list[str]:
        paths = [job["links"]["self"], job["links"]["results"], job["links"]["support_set"]]
        for result in self.json(job["links"]["results"] + "?limit=1000")["items"]:
            paths += result["links"].values()
            paths += [c["links"]["probability"] for c in result["classes"]]
            paths += [f"{result['links']['image']}/{view}" for view in
                      ("preview.png", "chips/0,0.png?width=33&height=20")]
        return list(dict.fromkeys(paths))

    def fetch(self, paths: list[str]) -> Answers:
        return {path: self.ask(path) for path in paths}


# ---- comparing ----

def normalise(text: bytes) -> bytes:
    """An answer without what differs from run to run; pictures and CSV hold none of it."""
    if text.split(b"\n", 1)[0].endswith((b"png", b"csv")):
        return text
    seen: dict[bytes, bytes] = {}
    text = ID.sub(lambda m: seen.setdefault(m[0], b"%s_%d" % (m[1], len(seen))), text)
    text = re.sub(rb'"request_id": ?"[^"]*"', b'"request_id":""', text)
    return VERSION.sub(rb'\1""', TIME.sub(b"TIME", text))


def nameless(answers: Answers) -> Answers:
    """By path without ids, so that those of two services meet."""
    return {f"{i} " + ID.sub(rb"\1", path.encode()).decode(): normalise(text)
            for i, (path, text) in enumerate(answers.items())}


def without_additions(old: object, new: object) -> object:
    """What is new, less the members of objects that the old program did not have."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: without_additions(old[key], value) for key, value in new.items() if key in old}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [without_additions(a, b) for a, b in zip(old, new)]
    return new


def same(old: bytes, new: bytes) -> bool:
    kind, _, body = old.partition(b"\n")
    if old == new or not kind.endswith(b"json") or new.partition(b"\n")[0] != kind:
        return old == new
    before, after = json.loads(body), json.loads(new.partition(b"\n")[2])
    return json.dumps(before) == json.dumps(without_additions(before, after))


def difference(old: Answers, new: Answers) -> str:
    """The first difference, or nothing."""
    if list(old) != [path for path in new if path in old]:
        return f"answers {sorted(old.keys() - new.keys())} are missing, or in another order"
    for path, text in old.items():
        if not same(text, new[path]) and not (BUT and re.search(BUT, path)):
            at = next((i for i, (a, b) in enumerate(zip(text, new[path])) if a != b), min(len(text), len(new[path])))
            return f"{path} at byte {at}: {text[at:at + 40]!r} and {new[path][at:at + 40]!r}"
    return ""


def compare_commands(old: str, new: str, name: str, folder: Path, work: Path) -> str:
    made = {}
    for side, program in (("old", old), ("new", new)):
        out = work / "commands" / side / name
        subprocess.run([program, "classify", "--image", folder / "image.png", "--support", folder / "support.json",
                        "--out", out / "classify", "--edge", "cover"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([program, "simulate", "--scene", name, "--out", out / "simulate", "--seed", "3"], check=True)
        # The kind first, as in answers: members may be added to JSON.
        made[side] = {str(f.relative_to(out)): f.suffix.encode() + b"\n" + f.read_bytes()
                      for f in sorted(out.rglob("*")) if f.is_file()}
    return difference(made["old"], made["new"])


def main(old: str, new: str, work: Path) -> int:
    pictures = images()
    jobs = demo_jobs(old, work, pictures) + varied_jobs()
    faults: dict[str, list[str]] = {job.name: [] for job in jobs}
    kept: dict[str, Answers] = {}
    first: dict[str, Answers] = {}

    def note(name: str, pass_: str, text: str) -> None:
        faults[name] += [f"{pass_}: {text}"] if text else []

    with Service(old, work / "old") as a, Service(new, work / "new") as b:
        of_a, of_b = a.upload(pictures), b.upload(pictures)
        for job in jobs:
            sides = []
            for service, made in ((a, of_a), (b, of_b)):
                paths, once = service.run(job, *made)
                sides.append((service.fetch(paths), once))
            kept[job.name] = sides[0][0]
            first[job.name] = nameless(sides[0][0]) | sides[0][1]
            note(job.name, "old", sides[0][1].get(NOT_DONE, b"").decode())
            note(job.name, "anew", difference(first[job.name], nameless(sides[1][0]) | sides[1][1]))
    with Service(new, work / "old") as c:
        for job in jobs:
            note(job.name, "kept", difference(kept[job.name], c.fetch(list(kept[job.name]))))
        for job in jobs:
            paths, once = c.run(job, *of_a)
            note(job.name, "again", difference(first[job.name], nameless(c.fetch(paths)) | once))
    for job in jobs:
        about = f"{len(first[job.name])} answers, {sum(map(len, first[job.name].values())):,} bytes"
        print(f"{'DIFFERS' if faults[job.name] else 'equal':7} | {job.name} ({about})")
        for text in faults[job.name]:
            print(f"        | {text}")
    equal = sum(not texts for texts in faults.values())
    print(f"{equal} of {len(jobs)} jobs equal: run anew, as kept in a directory of {old}, and run again there")
    commands = {name: compare_commands(old, new, name, work / name, work)
                for name in ("perovskite-on-diamond", "ordered-oxide")}
    for name, text in commands.items():
        print(f"{'DIFFERS' if text else 'equal':7} | files of simulate and classify, {name} {text}")
    return 0 if equal == len(jobs) and not any(commands.values()) else 1


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: same_results.py OLD NEW [BUT]")
    folder = Path(tempfile.mkdtemp(prefix="same-results-"))
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], folder))
    finally:
        shutil.rmtree(folder)
