"""Make the file that is shipped of a trained one: the same weights, without the stages after the last one pooled.

    python3 models/training/trim.py TRAINED.safetensors --out models/default.safetensors [--set KEY=VALUE]

Which stages are pooled, the copies of the chip itself, the input size and the name are the config's; all else is the
trained file's. Its training record stays, with what the file was trained as.
"""
from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import config as configs
import export
from config import Config
from model import Encoder, network_of

CHANGED = ("name", "input_size", "pool", "encoding")  # of what a file says of itself


def trim(path: Path, config: Config, out: Path) -> None:
    tensors, described = export.read(path)
    wanted = config.network
    network = replace(network_of(tensors, described), input_size=wanted.input_size, pool_stages=wanted.pool_stages,
                      chip_copies=wanted.chip_copies)
    if network.pool_stages[-1] > len(network.widths):
        raise SystemExit(f"{path} has no stage {network.pool_stages[-1]}")
    kept = Encoder(network).state_dict()
    trained_as = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    trained_as |= {key: described[key] for key in CHANGED if key in described}
    described |= {"name": config.name, "input_size": network.input_size, "pool": export.pooling(network),
                  "encoding": "dense", "training": described["training"] | {"trained_as": trained_as}}
    export.write(out, {name: tensor for name, tensor in tensors.items() if name in kept}, described)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=configs.DEFAULT)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of train.py")
    options = parser.parse_args()
    try:
        config = configs.load(options.config, options.set)
    except (configs.ConfigError, OSError) as error:
        raise SystemExit(f"{options.config}: {error}") from error
    trim(options.trained, config, options.out)


if __name__ == "__main__":
    main()
