"""A network trained from scratch on the examples alone, and the cache of its results.

Recipe, the same for every task and number of examples: a narrow residual network of 70,000 weights on
the chips at their own size (at most 64 px); 300 steps of AdamW on batches of 32 drawn evenly from the
classes, one-cycle learning rate with a peak of 4e-3, weight decay 0.01, label smoothing 0.05, dropout
0.2; each chip in a batch is flipped, turned by quarters, shifted by up to an eighth of its side, and
changed in gain, offset and noise. Where a class is an orientation, chips are turned by 180 degrees only, since
flips and quarter turns would make one class of another. Larger networks or longer training would cost more and, at these
numbers of examples, have nothing more to learn from: the examples are fitted at the end (`fit`).
"""

import hashlib
import inspect
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data import Group, resize
from methods import draw_shots, mean_recall

STEPS = 300
BATCH = 32
LARGEST = 64


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.one(x)))


def network(n_classes: int) -> nn.Module:
    def shrink(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]

    return nn.Sequential(
        *shrink(1, 16), *shrink(16, 32), Residual(32), *shrink(32, 64), Residual(64),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, n_classes),
    )  # fmt: skip


def augment(x: Tensor, oriented: bool) -> Tensor:
    n, side = len(x), x.shape[-1]
    turned = []
    for chip in x:  # the eight symmetries of the square, or the two that keep a direction
        quarters, mirrored = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
        chip = torch.rot90(chip, quarters // 2 * 2 if oriented else quarters, (1, 2))
        turned.append(chip.flip(2) if mirrored and not oriented else chip)
    x = torch.stack(turned)
    reach = side // 8
    padded = F.pad(x, (reach, reach, reach, reach), mode="reflect")
    dx, dy = torch.randint(2 * reach + 1, (2,))
    x = padded[:, :, dy : dy + side, dx : dx + side]
    gain = 1 + 0.15 * torch.randn(n, 1, 1, 1)
    offset = 0.05 * torch.randn(n, 1, 1, 1)
    noise = 0.05 * torch.rand(n, 1, 1, 1) * torch.randn_like(x)
    return (x - 0.5) * gain + 0.5 + offset + noise


def train(
    chips: Tensor, shots: np.ndarray, labels: np.ndarray, oriented: bool, seed: int
) -> tuple[np.ndarray, float]:
    """A class for every chip, and the accuracy on the last quarter of the training batches."""
    torch.manual_seed(seed)
    n_classes = int(labels.max()) + 1
    net = network(n_classes)
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    examples, truth = chips[shots], torch.from_numpy(labels)
    right = []
    for step in range(STEPS):
        wanted = torch.arange(BATCH) % n_classes
        per_class = len(shots) // n_classes
        picked = wanted * per_class + torch.randint(per_class, (BATCH,))
        out = net(augment(examples[picked], oriented))
        optimiser.zero_grad()
        F.cross_entropy(out, truth[picked], label_smoothing=0.05).backward()
        optimiser.step()
        schedule.step()
        if step >= STEPS * 3 // 4:
            right.append((out.argmax(1) == truth[picked]).float().mean().item())
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in chips.split(128)])
    return found.numpy(), float(np.mean(right))


def tensor_of(group: Group) -> Tensor:
    side = min(group.chips[0].shape[0], LARGEST)
    return torch.from_numpy(np.stack([resize(chip, side) for chip in group.chips]))[:, None]


def run(group: Group, n_shots: int, draw: int) -> dict[str, float]:
    torch.set_num_threads(1)
    shots = draw_shots(group.labels, n_shots, draw)
    chips = tensor_of(group)
    start = time.process_time()
    found, fit = train((chips - 0.4) / 0.3, shots, group.labels[shots], group.oriented, draw)
    return {
        "score": mean_recall(found, group.labels, shots),
        "fit": fit,
        "seconds": time.process_time() - start,
    }


def cache_key(group: Group, n_shots: int, draw: int) -> str:
    """All that the result depends on: the chips, the examples and this recipe; not the encoder."""
    digest = hashlib.sha256()
    digest.update((inspect.getsource(sys.modules[__name__]) + inspect.getsource(draw_shots)).encode())
    for chip in group.chips:
        digest.update(np.ascontiguousarray(chip).tobytes())
    digest.update(group.labels.astype(np.int64).tobytes())
    digest.update(f"{n_shots} {draw} {group.oriented} {torch.__version__}".encode())
    return digest.hexdigest()


class Cache:
    """One small file a result, so that processes may write side by side and a run may be broken off."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> dict[str, float] | None:
        path = self.folder / f"{key}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def put(self, key: str, value: dict[str, float]) -> None:
        new = self.folder / f"{key}.{os.getpid()}"
        new.write_text(json.dumps(value))
        new.rename(self.folder / f"{key}.json")
