"""Write an encoder as a safetensors file (https://github.com/huggingface/safetensors, format section of its README).

Eight bytes of little-endian header length, a JSON header padded with spaces to a multiple of eight, the tensors.
Convolutions are stored in half precision: their values are far below its range and the rounding (2^-11 relative) is
far below the noise of a chip. Batch-norm tensors stay in float32: they are few, and variances span many decades.

Nothing in the file depends on the clock: the same training gives the same bytes.
"""
from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
from pathlib import Path

import torch
from torch import Tensor

from config import Config, Network

HERE = Path(__file__).resolve().parent
RECIPE = ("scenes.py", "draw.py")  # what the drawn world is made by


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=True).stdout.strip()


def versions() -> dict[str, str]:
    """The repository's commit, and git's hash of this directory, which stays the same when a commit is moved to another
    branch; with "-modified" where the pipeline differs from them; "unknown" outside a checkout."""
    try:
        found = {"commit": git("rev-parse", "HEAD"), "pipeline_tree": git("rev-parse", "HEAD:./")}
        changed = git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "pipeline_tree": "unknown"}
    return {key: value + ("-modified" if changed else "") for key, value in found.items()}


def provenance(config: Config) -> dict:
    """What is known before the first step: enough to do it again."""
    return {
        "data": "drawn, no photographs",
        "data_recipe": [
            {"file": name, "sha256": hashlib.sha256((HERE / name).read_bytes()).hexdigest()}
            for name in RECIPE
        ],
        **versions(),
        "torch": torch.__version__,
        "config": config.as_dict(),
    }


def pooling(network: Network) -> dict:
    return {"stages": list(network.pool_stages), "statistics": ["mean", "std"], "chip_copies": list(network.chip_copies)}


def describe(config: Config, training: dict) -> dict:
    """What the file says of itself."""
    return {
        "format": 1,
        "name": config.name,
        "input_size": config.network.input_size,
        "mean": [config.network.mean],
        "std": [config.network.std],
        "pool": pooling(config.network),
        "encoding": "dense",  # what it was trained for: chips within what surrounds them
        "licence": "Apache-2.0",
        "training": training,
    }


def write(path: Path, tensors: dict[str, Tensor], described: dict) -> None:
    """Write atomically: a reader sees the old file or the new one, never a part."""
    header: dict = {"__metadata__": {"chipshot": json.dumps(described)}}
    data = bytearray()
    for name, tensor in tensors.items():
        if name.endswith("num_batches_tracked"):
            continue
        half = tensor.dim() == 4
        raw = tensor.detach().cpu().to(torch.float16 if half else torch.float32).contiguous().numpy().tobytes()
        header[name] = {
            "dtype": "F16" if half else "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors as float32, and what the file says of itself."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    described = json.loads(header.pop("__metadata__")["chipshot"])
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        dtype = {"F16": torch.float16, "F32": torch.float32}[entry["dtype"]]
        tensors[name] = torch.frombuffer(bytearray(raw[begin:end]), dtype=dtype).reshape(entry["shape"]).float()
    return tensors, described
