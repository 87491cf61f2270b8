#!/usr/bin/env python3
"""Turns a PyTorch checkpoint of a ResNet into a safetensors file that chipshot loads. See docs/encoders.md.

    python3 models/convert.py CHECKPOINT OUT.safetensors [--dtype F16] [--input-size 128] [--stages 2 3 4] ...

Takes torchvision's ResNet-18/34/50/101/152 and their kin under the same tensor names (timm, MicroNet), as a bare
state dict or nested in a training checkpoint, alone or as the encoder of a larger network, and safetensors files.
Anything that chipshot would compute differently is refused by name. No code of the checkpoint is run.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import struct
import sys
from pathlib import Path

import torch
from torch import Tensor

NESTS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "net", "encoder")
BLOCK = "layer1.0.conv1.weight"
NORM = ("weight", "bias", "running_mean", "running_var")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

# What a tensor that does not belong says of the network, the first match counts.
FOREIGN = (
    (r"\.(se|se_module|attn|eca|cbam)\.|\.attn_", "channel attention (squeeze-and-excitation or the like)"),
    (r"^conv1\.\d|^stem\.|^layer0\.", "a stem of several layers (ResNet-C, -D, -S or SENet)"),
    (r"downsample\.2\.|downsample\.1\.weight$", "a shortcut with average pooling (ResNet-D)"),
    (r"conv\d\.\d|\.conv4\.|\.bn4\.|\.aa\.", "blocks of another kind"),
    (r"^layer[5-9]\.", "more than four stages"),
)


class Refused(Exception):
    """The message says what was found and why it is not taken."""


def read_safetensors(raw: bytes) -> dict[str, Tensor]:
    try:
        (length,) = struct.unpack_from("<Q", raw)
        header = json.loads(raw[8 : 8 + length])
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] == "I64":
                continue
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            values = torch.frombuffer(bytearray(raw[begin:end]), dtype=DTYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
        return tensors
    except (ValueError, KeyError, TypeError, struct.error, RuntimeError) as error:
        raise Refused(f"not a safetensors file of F32, F16 or BF16 tensors: {error!r}") from error


def read_checkpoint(path: Path) -> object:
    """What torch.save stored, tensors and plain containers only: unpickling anything else could run its code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # The safe reader meets hostile and broken files with errors of many kinds.
    except Exception as error:
        reason = (str(error).splitlines() or [repr(error)])[0].split("WeightsUnpickler error: ")[-1]
        if "Unsupported operand 71" in reason:
            reason = "PyTorch 1.13's safe reader knows no floats; PyTorch 2 does"
        raise Refused(
            "not a PyTorch checkpoint, or one that holds more than tensors and plain values; nothing else is loaded, "
            f"since that could run code. Where it was made, save model.state_dict() alone. ({reason})"
        ) from error


def state_dict_of(loaded: object) -> dict[str, Tensor]:
    """The first level, from outside, on which tensors stand by name."""
    while isinstance(loaded, dict):
        tensors = {k: v for k, v in loaded.items() if isinstance(k, str) and isinstance(v, Tensor)}
        if any(key.endswith("weight") for key in tensors):
            return tensors
        inner = [key for key in NESTS if isinstance(loaded.get(key), dict)]
        if not inner:
            names = ", ".join(map(str, list(loaded)[:8]))
            raise Refused(f"no tensors, and no state dict under {', '.join(NESTS)}; the file holds: {names}")
        loaded = loaded[inner[0]]
    raise Refused(f"the file holds a {type(loaded).__name__}, not a state dict")


def backbone_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The ResNet's tensors, without the prefix of wrappers (module., encoder.) or what is not under it."""
    prefixes = sorted({name[: -len(BLOCK)] for name in tensors if name.endswith(BLOCK)})
    prefixes = [p for p in prefixes if p == "" or p.endswith(".")]
    if len(prefixes) != 1:
        found = f"{len(prefixes)} networks with it: {', '.join(prefixes)}" if prefixes else "none with it"
        first = ", ".join(list(tensors)[:4])
        raise Refused(f"a ResNet has a tensor {BLOCK}; here there are {found}; the first tensors are {first}")
    prefix = prefixes[0]
    if prefix:
        others = sum(not name.startswith(prefix) for name in tensors)
        print(f"taking the network under '{prefix}', leaving {others} tensors of others", file=sys.stderr)
    inside = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {n: t for n, t in inside.items() if not n.startswith("fc.") and not n.endswith("num_batches_tracked")}


def expected_names(tensors: dict[str, Tensor]) -> set[str]:
    """All tensors of the ResNet whose blocks these are."""
    convs = ("1", "2", "3") if "layer1.0.conv3.weight" in tensors else ("1", "2")
    names = {"conv1.weight"} | {f"bn1.{part}" for part in NORM}
    for stage in range(1, 5):
        depth = len({name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")})
        for block in (f"layer{stage}.{i}." for i in range(max(depth, 1))):
            names |= {f"{block}conv{i}.weight" for i in convs} | {f"{block}bn{i}.{p}" for i in convs for p in NORM}
            if any(name.startswith(block + "downsample.") for name in tensors):
                names |= {block + "downsample.0.weight"} | {f"{block}downsample.1.{part}" for part in NORM}
    return names


def check(tensors: dict[str, Tensor]) -> None:
    """Names, and the shapes that tell grouped convolutions; the engine checks all other shapes."""
    for pattern, what in FOREIGN:
        for name, tensor in tensors.items():
            # A plain shortcut has a vector there, its batch norm's scale.
            if re.search(pattern, name) and not (name.endswith("downsample.1.weight") and tensor.dim() == 1):
                raise Refused(f"{name}: the network has {what}, which chipshot does not compute")
    wanted = expected_names(tensors)
    for name in sorted(wanted - set(tensors)):
        hint = ": only batch norm with running statistics is computed" if "running" in name else ""
        raise Refused(f"{name} is missing{hint}")
    for name in sorted(set(tensors) - wanted):
        raise Refused(f"{name}: a plain ResNet has no such tensor")
    for name, tensor in tensors.items():
        inner = tensors.get(name.replace("conv2.", "conv1."))
        if name.endswith(".conv2.weight") and tensor.shape[1] != inner.shape[0]:
            raise Refused(f"{name}: a grouped convolution (ResNeXt), which chipshot does not compute")
        if not torch.isfinite(tensor).all():
            raise Refused(f"{name} holds a value that is not finite")
    if tensors["conv1.weight"].shape[1] not in (1, 3):
        raise Refused(f"conv1.weight takes {tensors['conv1.weight'].shape[1]} channels; 1 or 3 are computed")


def stored(name: str, tensor: Tensor, dtype: str) -> bytes:
    """Batch-norm tensors stay F32: they are few, and variances span many decades."""
    narrow = tensor.to(DTYPES[dtype] if tensor.dim() == 4 else torch.float32).contiguous()
    if not torch.isfinite(narrow).all():
        raise Refused(f"{name}: a value beyond F16's range (65504); use --dtype F32")
    return narrow.numpy().tobytes()


def write(path: Path, tensors: dict[str, Tensor], dtype: str, described: dict) -> None:
    header: dict = {"__metadata__": {"chipshot": json.dumps(described)}}
    data = bytearray()
    for name, tensor in tensors.items():
        raw = stored(name, tensor, dtype)
        header[name] = {
            "dtype": dtype if tensor.dim() == 4 else "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(struct.pack("<Q", len(text)) + text + data)
    os.replace(temporary, path)


def describe(options: argparse.Namespace, channels: int) -> dict:
    usual = IMAGENET if channels == 3 else {"mean": [0.0], "std": [1.0]}
    mean, std = options.mean or usual["mean"], options.std or usual["std"]
    if len(mean) != channels or len(std) != channels:
        raise Refused(f"--mean and --std take {channels} numbers, one a channel")
    if set(options.stages) == {0}:
        raise Refused("--stages 0 pools the chip itself, and the network not at all: name one of 1 to 4 too")
    return {
        "format": 1,
        "name": options.name or options.checkpoint.name.split(".")[0][:63],
        "input_size": options.input_size,
        "mean": mean,
        "std": std,
        "pool": {"stages": sorted(set(options.stages)), "statistics": sorted(set(options.statistics))},
        "encoding": options.encoding,
        "licence": options.licence,
        "source": {
            "file": options.checkpoint.name,
            "sha256": hashlib.sha256(options.checkpoint.read_bytes()).hexdigest(),
        },
    }


def convert(options: argparse.Namespace) -> None:
    if options.checkpoint.suffix == ".safetensors":
        tensors = read_safetensors(options.checkpoint.read_bytes())
    else:
        tensors = state_dict_of(read_checkpoint(options.checkpoint))
    tensors = backbone_of(tensors)
    check(tensors)
    described = describe(options, tensors["conv1.weight"].shape[1])
    write(options.out, tensors, options.dtype, described)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB; `chipshot encoder info` checks and describes it")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=("F32", "F16"), default="F32", help="of the convolutions")
    parser.add_argument("--name", help="shown by the service (default: the checkpoint's name)")
    parser.add_argument("--input-size", type=int, default=224, help="pixels a side that chips are resampled to")
    parser.add_argument("--mean", type=float, nargs="+", help="of each channel (ImageNet's; 0 for one channel)")
    parser.add_argument("--std", type=float, nargs="+", help="of each channel (ImageNet's; 1 for one channel)")
    parser.add_argument("--stages", type=int, nargs="+", choices=range(5), default=[4],
                        help="pooled stages (0: the chip itself, beside others)")
    parser.add_argument("--statistics", nargs="+", choices=("mean", "std"), default=["mean"], help="of a pooled stage")
    parser.add_argument("--encoding", choices=("chips", "dense"), default="chips",
                        help="where a job does not say: each chip for itself, or the image as a whole (default: chips)")
    parser.add_argument("--licence", default="unknown", help="of the weights, to be stored with them")
    options = parser.parse_args()
    try:
        convert(options)
    except (Refused, OSError) as error:
        print(f"convert.py: {options.checkpoint}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
