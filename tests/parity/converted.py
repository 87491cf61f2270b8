"""Runs models/convert.py on checkpoints of every published kind, with random weights, and compares with PyTorch.

Usage: converted.py CHIPSHOT PARITY_EMBED
Each file must be accepted by `chipshot encoder info`, and the engine's embeddings must agree with those of the network
that the checkpoint was saved from. Two go through POST /v1/encoders. What chipshot would compute differently must be
refused with a message that says why.
"""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections import OrderedDict
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from parity import engine_embed, report
from reference import Pooling, embed, published, random_chips, randomise

CONVERT = Path(__file__).resolve().parents[2] / "models" / "convert.py"


def bare(state: dict[str, Tensor]) -> object:
    """torchvision's files."""
    return OrderedDict(state)


def training_run(state: dict[str, Tensor]) -> object:
    """A checkpoint of timm's or PyTorch's training scripts, saved from DataParallel."""
    nested = OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())
    return {"epoch": 3, "arch": "resnet50", "state_dict": nested, "optimizer": {"state": {}, "param_groups": []}}


def micronet(state: dict[str, Tensor]) -> object:
    """MicroNet's encoder in a U-Net of segmentation_models_pytorch, which drops the classifier."""
    inside = OrderedDict((f"encoder.{n}", t) for n, t in state.items() if not n.startswith("fc."))
    decoder = {"decoder.blocks.0.conv1.0.weight": torch.zeros(8, 8, 3, 3), "segmentation_head.0.bias": torch.zeros(3)}
    return {"epoch": 7, "state_dict": OrderedDict(inside, **decoder)}


# checkpoint, network, how it is saved, input size, chips, pooled stages and statistics (none: the default), dtype
CASES = [
    ("torchvision resnet18", "resnet18", bare, 224, 2, None, "F32"),
    ("torchvision resnet34", "resnet34", bare, 64, 3, None, "F16"),
    ("torchvision resnet50", "resnet50", bare, 64, 3, None, "F32"),
    ("torchvision resnet101", "resnet101", bare, 64, 2, None, "F32"),
    ("torchvision resnet152", "resnet152", bare, 64, 2, None, "F16"),
    ("timm resnet50, a training run's", "resnet50", training_run, 96, 2, ([2, 3, 4], ["mean", "std"]), "F16"),
    ("MicroNet resnet50, a U-Net's encoder", "resnet50", micronet, 64, 3, ([3], ["mean"]), "F32"),
    ("MicroNet resnet18, 54 classes", "resnet18/54", bare, 64, 3, ([2, 3, 4], ["mean", "std"]), "F32"),
]


def convert(source: Path, out: Path, *options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, CONVERT, source, out, *map(str, options)], capture_output=True, text=True, check=False
    )


def network(name: str, seed: int) -> nn.Module:
    kind, _, classes = name.partition("/")
    model = published(kind)
    if classes:
        model.fc = nn.Linear(model.fc.in_features, int(classes))
    randomise(model, seed)
    return model


def compare(case: tuple, seed: int, programs: list[str], folder: Path) -> bool:
    title, kind, save, size, n, pool, dtype = case
    model = network(kind, seed)
    source, out = folder / "checkpoint.pth", folder / f"{title.replace(' ', '-').replace(',', '')}.safetensors"
    torch.save(save(model.state_dict()), source)
    options: list[object] = ["--dtype", dtype, "--input-size", size]
    if pool:
        options += ["--stages", *pool[0], "--statistics", *pool[1]]
    done = convert(source, out, *options)
    if done.returncode != 0:
        print(f"FAIL {title}: {done.stderr}")
        return False
    subprocess.run([programs[0], "encoder", "info", out], check=True, stdout=subprocess.DEVNULL)
    if dtype == "F16":
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.half().float()
    pooling = Pooling(*pool) if pool else None
    chips = random_chips(n, size, seed)
    return report(title, engine_embed(programs[1], out, chips, folder), embed(model, chips, pooling))


def renamed(state: dict[str, Tensor], changes: dict[str, str]) -> dict[str, Tensor]:
    for old, new in changes.items():
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return state


def refusals() -> list[tuple[str, object, str]]:
    """What it is, the object to be saved, a part of the message."""
    plain = published("resnet18").state_dict()
    short = {"downsample.1": "downsample.2", "downsample.0": "downsample.1"}
    deep = {"conv1.0.weight" if name == "conv1.weight" else name: tensor for name, tensor in plain.items()}
    group_norm = torchvision.models.resnet18(weights=None, norm_layer=lambda width: nn.GroupNorm(2, width))
    wrong = dict(plain, **{"bn1.bias": torch.full((64,), float("nan"))})
    return [
        ("timm's resnet18d", renamed(deep, short), "conv1.0.weight: the network has a stem"),
        ("an average-pooling shortcut", renamed(dict(plain), short), "average pooling"),
        ("squeeze-and-excitation", dict(plain, **{"layer1.0.se.fc1.weight": torch.zeros(4, 64, 1, 1)}), "attention"),
        ("SENet's names", renamed(dict(plain), {"bn1.": "layer0.bn1."}), "layer0"),
        ("ResNeXt", torchvision.models.resnext50_32x4d(weights=None).state_dict(), "grouped"),
        ("group norm", group_norm.state_dict(), "running"),
        ("another architecture", torchvision.models.mobilenet_v2(weights=None).state_dict(), "layer1.0.conv1.weight"),
        ("a missing tensor", {n: t for n, t in plain.items() if n != "layer3.1.conv2.weight"}, "layer3.1.conv2.weight"),
        ("a tensor too many", dict(plain, extra=torch.zeros(1)), "extra"),
        ("a value that is no number", wrong, "bn1.bias"),
        ("two networks", {p + n: t for p in ("a.", "b.") for n, t in plain.items()}, "2 networks"),
        ("a whole pickled model", published("resnet18"), "state_dict()"),
        ("an object among floats", {"best": 0.5, "state_dict": plain, "args": Path("x")}, "state_dict()"),
        ("no tensors", {"epoch": 1}, "epoch"),
    ]


def refuse(title: str, saved: object, message: str, folder: Path, *options: str) -> bool:
    source, out = folder / "refused.pth", folder / "refused.safetensors"
    torch.save(saved, source)
    done = convert(source, out, *options)
    good = done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr and not out.exists()
    print(f"{'ok  ' if good else 'FAIL'} refused {title}: {done.stderr.strip()[-150:]}")
    return good


def upload(chipshot: str, files: list[Path], folder: Path) -> bool:
    """POST /v1/encoders of a server of its own."""
    server = subprocess.Popen(
        [chipshot, "serve", "--listen", "127.0.0.1:0", "--data", folder / "data", "--log-level", "warn"],
        stdout=subprocess.PIPE, text=True,
    )
    try:
        url = server.stdout.readline().split()[-1]
        good = True
        for file in files:
            request = urllib.request.Request(
                f"{url}/v1/encoders", file.read_bytes(), {"Content-Type": "application/octet-stream"}
            )
            with urllib.request.urlopen(request) as answer:
                encoder = json.load(answer)
            good &= answer.status == 201
            print(f"{'ok  ' if answer.status == 201 else 'FAIL'} uploaded {file.name}: {encoder['name']}")
        return good
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    programs = sys.argv[1:3]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = True
        for seed, case in enumerate(CASES):
            good &= compare(case, seed, programs, folder)
        for case in refusals():
            good &= refuse(*case, folder)
        good &= refuse("the chip itself alone", published("resnet18").state_dict(), "name one of 1 to 4 too", folder,
                       "--stages", "0")
        files = sorted(folder.glob("torchvision-resnet18.*")) + sorted(folder.glob("timm*.safetensors"))
        good &= len(files) == 2 and upload(programs[0], files, folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
