"""PyTorch's side of `make bench-peers`: see peers.py, which starts it and talks to it.

Usage: peers_torch.py WEIGHTS MAKES INPUT THREADS DIMENSIONS...
MAKES is what the network makes of images: embeddings, or the maps of its pooled stages. The network is traced, frozen and optimised for inference, which of eager, traced and channels-last execution was the
fastest on every row. INPUT is a file of float32 of the given dimensions. Prints "ready VERSION"; then answers, one
line each: "measure MS" with the images a second of a round that lasts at least as long, after one to warm up, and
"embed FILE" by writing the outputs there, one after the other.
"""
from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))
from reference import Embedder, StageMaps, model_of, pooling_of, read_safetensors

NETWORKS = {"embeddings": Embedder, "maps": StageMaps}


def run_round(network, images: torch.Tensor, milliseconds: float) -> float:
    start = time.monotonic()
    done = 0
    while True:
        network(images)
        done += len(images)
        elapsed = time.monotonic() - start
        if elapsed >= milliseconds / 1e3:
            return done / elapsed


@torch.no_grad()
def main() -> None:
    weights, makes, inputs, threads, *dimensions = sys.argv[1:]
    torch.set_num_threads(int(threads))
    tensors, described = read_safetensors(Path(weights))
    images = torch.from_numpy(np.fromfile(inputs, "<f4").reshape([int(d) for d in dimensions]))
    traced = torch.jit.trace(NETWORKS[makes](model_of(tensors), pooling_of(described)).eval(), images)
    network = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        command, argument = line.split()
        if command == "measure":
            run_round(network, images, float(argument))
            print(run_round(network, images, float(argument)), flush=True)
        else:
            made = network(images)
            outputs = made if isinstance(made, tuple) else (made,)
            np.concatenate([output.numpy().ravel() for output in outputs]).tofile(argument)
            print("done", flush=True)


if __name__ == "__main__":
    main()
