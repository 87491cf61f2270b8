"""The rows of `make bench-peers`, and what all programs of a row get: weights, chips or tiles, the right answer.

PyTorch and what needs it are imported where they are used: without them peers.py says so and leaves everything out.
"""
from __future__ import annotations

import json
import shutil
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ENCODER = Path(__file__).resolve().parents[2] / "models" / "default.safetensors"
DENSE_CHIP = 64  # px a side, in the images of dense rows


def input_size_of(weights: Path) -> int:
    """What a file says of itself."""
    with open(weights, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(json.loads(file.read(length))["__metadata__"]["chipshot"])["input_size"]


@dataclass(frozen=True)
class Row:
    network: str  # torchvision's name, "default" (the encoder that is shipped) or "tiny" (to try the program)
    size: int
    batch: int
    goal: float | None  # chipshot / the faster peer
    image: int = 0  # px a side of an image that is encoded densely, in tiles; 0: chips are, each for itself

    @property
    def name(self) -> str:
        return f"{self.network}-{self.size}-b{self.batch}" + (f"-dense-{self.image}" if self.image else "")


def write_weights(row: Row, path: Path) -> None:
    from reference import (
        IMAGENET_MEAN, IMAGENET_STD, BasicBlock, Bottleneck, NarrowResNet, Pooling, published, quantise, randomise,
        write_safetensors,
    )

    if row.network == "default":
        shutil.copyfile(DEFAULT_ENCODER, path)
        return
    if row.network == "tiny":
        block = BasicBlock if row.image else Bottleneck
        model = NarrowResNet(block, 24, [12, 24, 40, 48], [1, 2, 3, 1], 3)
    else:
        model = published(row.network)
    randomise(model, 1)
    pooling = Pooling([1, 2, 3], ["mean", "std"], IMAGENET_MEAN, IMAGENET_STD, row.size) if row.image else None
    write_safetensors(path, quantise(model, "F32"), pooling)


def prepare_chips(row: Row, folder: Path) -> tuple:
    """The network that the peers run, what they are given, and the plan's part."""
    from reference import Embedder, embed, model_of, normalised, pooling_of, random_chips, read_safetensors

    tensors, described = read_safetensors(folder / "weights.safetensors")
    pooling = pooling_of(described)
    model = model_of(tensors)
    chips = random_chips(row.batch, row.size, 1)
    chips.tofile(folder / "chips.bin")
    embed(model, chips, pooling).tofile(folder / "reference.bin")
    images = normalised(model, chips, pooling).float()
    return Embedder(model.float(), pooling), images, {"makes": "embeddings", "chips_an_image": 1}


def dense_case(row: Row) -> tuple:
    """The image of a dense row, and the chips of it that are compared."""
    import whole_images

    case = whole_images.Case(row.name, row.image, row.image, 8, DENSE_CHIP)
    return case, whole_images.corners_of(case, 1)


def prepare_image(row: Row, folder: Path) -> None:
    """Writes the image of a dense row, two of its chips as a support set, and the vectors that chips of it have."""
    import whole_images

    case, corners = dense_case(row)
    samples = whole_images.draw(case, 1)
    # Not compressed: who encodes is not to wait for who decodes.
    whole_images.write_png(folder / "image.png", samples, 0)
    classes = [{"name": name, "examples": [{"x": x, "y": y}]} for name, (x, y) in zip("ab", corners)]
    support = {"name": "dense", "chip": {"width": DENSE_CHIP, "height": DENSE_CHIP}, "classes": classes}
    (folder / "support.json").write_text(json.dumps(support))
    right, slack = whole_images.reference(folder / "weights.safetensors", case, samples, corners)
    right.tofile(folder / "reference.bin")
    slack.tofile(folder / "slack.bin")


def prepare_dense(row: Row, folder: Path) -> tuple:
    """As prepare_chips. The peers get tiles of random pixels, as large as those of the image."""
    import numpy as np

    from reference import StageMaps, model_of, normalised, pooling_of, random_chips, read_safetensors
    from whole_images import dense

    prepare_image(row, folder)
    tensors, described = read_safetensors(folder / "weights.safetensors")
    pooling = pooling_of(described)
    margin, scaled = dense.margin_of(row.size), -(-row.image * row.size // DENSE_CHIP)
    core = dense.core_of(scaled, scaled, margin)
    network = StageMaps(model_of(tensors), pooling).double().eval()
    tiles = normalised(network.model, random_chips(row.batch, core + 2 * margin, 1), pooling)
    maps = network(tiles)
    np.concatenate([m.detach().numpy().ravel() for m in maps]).tofile(folder / "maps.bin")
    worth = (row.image // DENSE_CHIP) ** 2 / (-(-scaled // core)) ** 2
    return network.float(), tiles.float(), {"makes": "maps", "chips_an_image": worth}


def prepare(row: Row, folder: Path, with_onnx: bool) -> dict:
    """Writes the row's files and says of what shape the peers' input is, and how many chips one image of it stands for."""
    import torch

    write_weights(row, folder / "weights.safetensors")
    network, images, part = (prepare_dense if row.image else prepare_chips)(row, folder)
    images.numpy().tofile(folder / "input.bin")
    if with_onnx:
        # The exporter is loud about shapes that it cannot infer; the outputs are compared instead.
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), images, folder / "model.onnx", opset_version=16, input_names=["input"])
    return part | {"dimensions": list(images.shape), "versions": {"torch": torch.__version__}}
