"""Write an encoder as a safetensors file (https://github.com/huggingface/safetensors, format section of its README).

Eight bytes of little-endian header length, a JSON header padded with spaces to a multiple of eight, the tensors.
Convolutions are stored in half precision: their values are far below its range and the rounding (2^-11 relative) is
far below the noise of a chip. Batch-norm tensors stay in float32: they are few, and variances span many decades.
"""
from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import torch
from torch import Tensor

from model import INPUT_SIZE, MEAN, POOL_STAGES, STD

NAME = "chipshot-drawn-1"


def write(path: Path, tensors: dict[str, Tensor], training: dict) -> None:
    """Write atomically: a reader sees the old file or the new one, never a part."""
    described = {
        "format": 1,
        "name": NAME,
        "input_size": INPUT_SIZE,
        "mean": [MEAN],
        "std": [STD],
        "pool": {"stages": list(POOL_STAGES), "statistics": ["mean", "std"]},
        "licence": "Apache-2.0",
        "training": training,
    }
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
