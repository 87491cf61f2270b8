"""Average encoders that lie on one training path, such as the ends of two cosine cycles (Izmailov et al. 2018,
"Averaging weights leads to wider optima and better generalization").

    python3 models/training/average.py FIRST.safetensors SECOND.safetensors --out models/default.safetensors

All weigh the same. Batch-norm statistics do not average: they are taken anew from drawn chips.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import config as configs
import export
from config import Config
from model import Encoder
from train import canvases, sheet

STATISTICS_SEED, STATISTICS_EPISODES = 777, 100


def mean_of(files: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if any({name: tensor.shape for name, tensor in file.items()} !=
           {name: tensor.shape for name, tensor in files[0].items()} for file in files):
        raise SystemExit("the encoders differ in their tensors")
    return {name: torch.stack([file[name] for file in files]).mean(0) for name in files[0]}


@torch.no_grad()
def take_statistics(net: Encoder, config: Config) -> None:
    """The plain mean over fixed drawn episodes, as the average network sees them."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a cumulative mean instead of an exponential one
    net.train()
    for number in range(STATISTICS_EPISODES):
        seen, _, _ = canvases(config, sheet(config, STATISTICS_SEED, number, torch.device("cpu")))
        net(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=configs.DEFAULT)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="as of train.py: network.input_size and network.pool_stages may differ from the training's")
    options = parser.parse_args()
    config = configs.load(options.config, options.set)
    files = [export.read(path) for path in options.encoders]
    net = Encoder(config.network)
    net.load_state_dict(mean_of([tensors for tensors, _ in files]), strict=False)
    take_statistics(net, config)
    training = export.provenance(config) | {
        "average_of": [described["training"] for _, described in files],
        "batch_norm": f"statistics of {STATISTICS_EPISODES} drawn episodes, seed {STATISTICS_SEED}",
    }
    export.write(options.out, net.state_dict(), export.describe(config, training))


if __name__ == "__main__":
    main()
