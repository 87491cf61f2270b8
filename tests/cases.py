"""Small inputs that once got a wrong answer, each with what is expected of it: `make cases`.

Usage: cases.py CHIPSHOT [NAME...]   (python3 with Pillow). Reads the inputs of CHIPSHOT_SHARED/cases; skipped, saying
so, where they are absent. Prints what was asked, what came and what is expected, a line each; exits non-zero unless
every line is as expected.
"""
from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

CASES = Path(os.environ.get("CHIPSHOT_SHARED", "../shared")) / "cases"


class Service:
    """A server with a project of its own."""

    def __init__(self, program: str, directory: str) -> None:
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--data", directory, "--log-level", "error"],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        self.project = self.post("/v1/projects", {"name": "cases"})["id"]

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json",
            **headers: str) -> dict:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": kind, **headers}, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return {"status": error.code} | json.load(error)

    def post(self, path: str, body: dict, **headers: str) -> dict:
        return self.ask("POST", path, json.dumps(body).encode(), **headers)

    def upload(self, file: Path, query: str = "") -> dict:
        return self.ask("POST", f"/v1/projects/{self.project}/images?name={file.name}{query}", file.read_bytes(),
                        "image/png")

    def support(self, image: str, document: dict) -> dict:
        for one in document["classes"]:
            for example in one["examples"]:
                example["image_id"] = image
        return self.post(f"/v1/projects/{self.project}/support-sets", document)

    def results(self, support: str, images: list[str], **parameters: object) -> dict[str, dict]:
        """The results of a job by the names of its images."""
        job = self.post(f"/v1/projects/{self.project}/jobs",
                        {"support_set_id": support, "image_ids": images, **parameters}, Prefer="wait=30")
        if job.get("state") != "succeeded":
            raise RuntimeError(f"the job did not succeed: {json.dumps(job.get('error', job))}")
        return {item["image_name"]: item for item in self.ask("GET", f"/v1/jobs/{job['id']}/results")["items"]}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@dataclass
class Bench:
    program: str
    service: Service
    work: Path
    n_lines: int = 0
    faults: list[str] = field(default_factory=list)

    def say(self, name: str, what: str, came: object, expected: str, is_right: bool) -> None:
        self.n_lines += 1
        if not is_right:
            self.faults.append(name)
        print(f"{'ok  ' if is_right else 'FAIL'} {name}: {what}: {came} (expected: {expected})", flush=True)

    def classify(self, image: Path, support: Path, *options: str) -> Path:
        out = Path(tempfile.mkdtemp(dir=self.work))
        run = subprocess.run([self.program, "classify", "--image", image, "--support", support, "--out", out, *options],
                             capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(run.stderr.strip())
        (out / "stderr").write_text(run.stderr)
        return out

    def series(self, case: Path) -> dict[str, dict]:
        """As a user would ask it: the targets of a folder, by the examples of its support image."""
        document = json.loads((case / "support.json").read_text())
        support = self.service.support(self.service.upload(case / "support-image.png")["id"], document)
        images = [self.service.upload(target)["id"] for target in sorted(case.glob("target-*.png"))]
        return self.service.results(support["id"], images)


def statistics(out: Path) -> dict:
    return json.loads((out / "statistics.json").read_text())


def one_class(result: dict, name: str) -> dict:
    return next(item for item in result["classes"] if item["name"] == name)


def labels_of(out: Path) -> list[dict]:
    with open(out / "labels.csv", newline="") as file:
        return list(csv.DictReader(file))


def objects_of(out: Path, name: str) -> list[dict]:
    with open(out / "objects.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["class"] == name]


def cross_image_empty(bench: Bench, case: Path) -> None:
    results = bench.series(case)
    for target, most, least in (("target-0-particles.png", 0, 0), ("target-1-particle.png", 6, 1)):
        n = one_class(results[target], "particle")["n_chips"]
        bench.say(case.name, f"{target}, chips of 'particle'", n, f"{least} to {most}", least <= n <= most)


def crop_of_the_same_image(bench: Bench, case: Path) -> None:
    result = bench.series(case)["target-crop-all-crystal.png"]
    n = one_class(result, "crystal")["n_chips"]
    bench.say(case.name, "chips of 'crystal' of 128", n, "at least 126", 126 <= n <= 128)


def one_chip_image(bench: Bench, case: Path) -> None:
    results = bench.series(case)
    n = one_class(results["target-particle-example.png"], "particle")["n_chips"]
    bench.say(case.name, "the particle's chip as 'particle'", n, "1", n == 1)
    flat = results["target-flat.png"]
    named = sum(item["n_chips"] for item in flat["classes"])
    n = flat["undecided"]["n_chips"]
    bench.say(case.name, "the flat image, chips undecided and with a class", (n, named), "all and 0",
              n > 0 and named == 0)


def area_does_not_add_up(bench: Bench, case: Path) -> None:
    full = 230 * 150 * 4.0
    for options in ((), ("--edge", "cover"), ("--stride", "10"), ("--stride", "80"),
                    ("--stride", "10", "--edge", "cover")):
        result = statistics(bench.classify(case / "image.png", case / "support.json", *options))
        total = sum(item["area_nm2"] for item in result["classes"])
        total += sum(result[name]["area_nm2"] for name in ("undecided", "unknown"))
        covered = result["covered"]["area_nm2"]
        bench.say(case.name, f"{' '.join(options) or 'drop'}: sum over the classes, nm2", total,
                  f"the covered area, {covered}, within {full:.0f}",
                  abs(total - covered) < 1e-6 * covered and covered <= full * (1 + 1e-9))


def labels_map_alignment(bench: Bench, case: Path) -> None:
    for options in ((), ("--edge", "cover"), ("--stride", "10")):
        out = bench.classify(case / "image.png", case / "support.json", *options)
        with Image.open(out / "labels-image.png") as image:
            size, outside = image.size, image.histogram()[255]
        covered = statistics(out)["covered"]["n_pixels"]
        bench.say(case.name, f"{' '.join(options) or 'drop'}: size of the map, pixels not covered", (size, outside),
                  f"(700, 500), {700 * 500 - covered}", size == (700, 500) and outside == 700 * 500 - covered)


def particle_fraction(result: dict) -> float:
    return one_class(result, "particle")["area_fraction"]


def info_bar(bench: Bench, case: Path) -> None:
    plain = particle_fraction(statistics(bench.classify(case / "image-without-bar.png", case / "support.json")))
    result = statistics(bench.classify(case / "image.png", case / "support.json"))
    fraction = particle_fraction(result)
    bench.say(case.name, "particles' share of the area", fraction, f"{plain:.3f}, as without the bar",
              abs(fraction - plain) < 0.02)
    n = result["not_analysed"]["n_chips"]
    bench.say(case.name, "chips of the bar left out", n, "48", n == 48)


def transparent_margin(bench: Bench, case: Path) -> None:
    out = bench.classify(case / "image.png", case / "support.json")
    with Image.open(case / "image.png") as image:
        alpha = image.convert("RGBA").getchannel("A")
    clear = 0
    rows = labels_of(out)
    for row in rows:
        x, y = int(row["x"]), int(row["y"])
        histogram = alpha.crop((x, y, x + 32, y + 32)).histogram()
        if histogram[0] == 32 * 32 and row["label"] != "not analysed":
            clear += 1
    bench.say(case.name, "transparent chips that have a class", clear, "0", clear == 0)
    area = sum(float(row["area_px"]) for row in objects_of(out, "particle"))
    share = area / sum(alpha.histogram()[1:])
    bench.say(case.name, "particles' share of the specimen, by their outlines", round(share, 4), "0.041 within 20 %",
              abs(share - 0.041) < 0.2 * 0.041)


def hot_pixels_16bit(bench: Bench, case: Path) -> None:
    clean = labels_of(bench.classify(case / "image-clean.png", case / "support.json"))
    for name in ("image-0.8percent.png", "image-6-hot-columns.png"):
        rows = labels_of(bench.classify(case / name, case / "support.json"))
        share = sum(a["label"] == b["label"] for a, b in zip(rows, clean)) / len(clean)
        bench.say(case.name, f"{name}, share of chips labelled as on the clean image", round(share, 3), "at least 0.97",
                  share >= 0.97)


def pairs_of_particles(bench: Bench, case: Path) -> None:
    for options in ((), ("--stride", "8")):
        out = bench.classify(case / "image.png", case / "support.json", *options)
        rows = objects_of(out, "particle")
        with Image.open(case / "image.png") as image:
            n_pixels = image.width * image.height
        fraction = sum(float(row["area_px"]) for row in rows) / n_pixels
        bench.say(case.name, f"{' '.join(options) or 'stride 32'}: objects, share of the area",
                  (len(rows), round(fraction, 4)), "32, 0.0335 within 20 %",
                  len(rows) == 32 and abs(fraction - 0.0335) < 0.2 * 0.0335)


def pixel_size(bench: Bench, case: Path) -> None:
    for name, expected in (("phys-2nm.png", (2, 2)), ("scal-2x3nm.png", (2, 3)), ("scal-2nm.png", (2, 2))):
        size = bench.service.upload(case / name)["pixel_size"]
        came = size and (size["x"], size["y"])
        bench.say(case.name, name, came, f"{expected} nm",
                  came is not None and all(abs(a - b) < 0.01 for a, b in zip(came, expected)))


def same_example_in_two_classes(bench: Bench, case: Path) -> None:
    image = bench.service.upload(case / "image.png")["id"]
    for name in ("support.json", "support-repeated.json"):
        answer = bench.service.support(image, json.loads((case / name).read_text()))
        bench.say(case.name, name, answer.get("status"), "422", answer.get("status") == 422)


def third_class_at_boundaries(bench: Bench, case: Path) -> None:
    out = bench.classify(case / "image.png", case / "support.json")
    edge = [chip["label"] for chip in labels_of(out) if chip["column"] == "3"]  # half dark, half bright
    n_corner = edge.count("corner")
    bench.say(case.name, "'corner' among the chips half dark, half bright", f"{n_corner} of {len(edge)}", "0",
              n_corner == 0)
    fraction = one_class(statistics(out), "corner")["area_fraction"]
    bench.say(case.name, "share of 'corner'", fraction, "0.087, of whole chips 0.04 to 0.16", 0.04 <= fraction <= 0.16)


RUNS = {
    "cross-image-empty": cross_image_empty,
    "crop-of-the-same-image": crop_of_the_same_image,
    "one-chip-image": one_chip_image,
    "area-does-not-add-up": area_does_not_add_up,
    "labels-map-alignment": labels_map_alignment,
    "info-bar": info_bar,
    "transparent-margin": transparent_margin,
    "hot-pixels-16bit": hot_pixels_16bit,
    "pairs-of-particles": pairs_of_particles,
    "pixel-size": pixel_size,
    "same-example-in-two-classes": same_example_in_two_classes,
    "third-class-at-boundaries": third_class_at_boundaries,
}


def main() -> int:
    program, names = sys.argv[1], sys.argv[2:] or list(RUNS)
    if not CASES.is_dir():
        print(f"skipped: {CASES} is absent (set CHIPSHOT_SHARED)")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        service = Service(program, f"{directory}/data")
        bench = Bench(program, service, Path(directory))
        try:
            for name in names:
                try:
                    RUNS[name](bench, CASES / name)
                except (RuntimeError, KeyError, OSError) as error:
                    bench.say(name, "it ends", repr(error), "an answer", False)
        finally:
            service.stop()
    print(f"{bench.n_lines} lines, {len(bench.faults)} not as expected"
          + (f": {', '.join(sorted(set(bench.faults)))}" if bench.faults else ""))
    return 1 if bench.faults else 0


if __name__ == "__main__":
    sys.exit(main())
