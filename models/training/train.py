"""Train the default encoder on drawn chips: prototypical episodes (Snell et al. 2017).

    python3 models/training/train.py --out models/default.safetensors --minutes 50 --seed 1

Stops after the given minutes of this and earlier runs together; a checkpoint lies beside the output, and the same
command goes on from it. Every step's chips depend on the seed and the step only; the number of steps depends on the
machine, so the weights of two machines differ unless --steps fixes it.
"""
from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import draw
import export
from model import Encoder, embed, standardise, unit

IMAGES, WAYS, SAMPLES = 6, 4, 6  # an episode: 24 classes of 6 chips from 6 images
PEAK_RATE, WEIGHT_DECAY, WARM_UP = 0.1, 5e-4, 100
VALIDATION_SEED, VALIDATION_EPISODES = 987_654, 40


class Episodes(Dataset):
    def __init__(self, seed: int, first: int, count: int) -> None:
        self.seed, self.first, self.count = seed, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return draw.episode(self.seed, self.first + index, IMAGES, WAYS, SAMPLES)


def one_thread(_: int) -> None:
    torch.set_num_threads(1)


def logits(vectors: Tensor, ways: int) -> Tensor:
    """Cosine of each chip with each class's mean of the *other* chips: every chip is asked, none helps itself.

    vectors: (sets, ways * samples, dimensions), chips sorted by class. Returns (sets, ways * samples, ways).
    """
    sets, chips, dimensions = vectors.shape
    by_class = vectors.reshape(sets, ways, -1, dimensions)
    total = by_class.sum(2)
    scores = vectors @ F.normalize(total, dim=2).transpose(1, 2)
    own = F.normalize(total[:, :, None] - by_class, dim=3)
    own_score = (by_class * own).sum(3).reshape(sets, chips, 1)
    return torch.where(own_class(ways, chips, vectors.device), own_score, scores)


def own_class(ways: int, chips: int, device: torch.device) -> Tensor:
    label = torch.arange(ways, device=device).repeat_interleave(chips // ways)
    return F.one_hot(label, ways).bool()


def cross_entropy(scores: Tensor) -> tuple[Tensor, Tensor]:
    sets, chips, ways = scores.shape
    label = torch.arange(ways, device=scores.device).repeat_interleave(chips // ways).repeat(sets)
    flat = scores.reshape(-1, ways)
    return F.cross_entropy(flat, label), (flat.argmax(1) == label).float().mean()


def by_image(vectors: Tensor) -> Tensor:
    """Standardised over the chips of each image, as the service classifies: (images, ways * samples, dimensions)."""
    images = vectors.reshape(IMAGES, WAYS * SAMPLES, -1)
    std = (images.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return F.normalize((images - images.mean(1, keepdim=True)) / std, dim=2)


class Objective(nn.Module):
    """Three questions to the same chips, each with its learnt temperature.

    The last stage's mean must tell all classes of all images apart; so must the pooled vector that the service uses;
    and within an image the pooled vector must do so after standardisation, among the hard negatives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.tensor([10.0, 10.0, 10.0]))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        last = unit(maps[-1].float().mean((2, 3)))[None]
        pooled = embed(maps)
        all_last, _ = cross_entropy(self.scales[0] * logits(last, IMAGES * WAYS))
        all_pooled, right = cross_entropy(self.scales[1] * logits(standardise(pooled)[None], IMAGES * WAYS))
        within, right_within = cross_entropy(self.scales[2] * logits(by_image(pooled), WAYS))
        return all_last + 0.5 * all_pooled + within, right, right_within


@torch.no_grad()
def validate(net: Encoder, device: torch.device) -> tuple[float, float]:
    """Share of right answers on fixed drawn episodes that training never sees: all classes, and within an image."""
    net.eval()
    right = torch.zeros(2)
    for number in range(VALIDATION_EPISODES):
        chips = draw.episode(VALIDATION_SEED, number, IMAGES, WAYS, SAMPLES)
        vectors = embed(net(chips.reshape(-1, 1, *chips.shape[-2:]).to(device)))
        right[0] += cross_entropy(logits(standardise(vectors)[None], IMAGES * WAYS))[1].cpu()
        right[1] += cross_entropy(logits(by_image(vectors), WAYS))[1].cpu()
    net.train()
    every, within = (right / VALIDATION_EPISODES).tolist()
    return every, within


def learning_rate(progress: float, step: int) -> float:
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))) + 1e-4


def save_checkpoint(path: Path, state: dict) -> None:
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--steps", type=int, help="stop after so many steps instead of minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that train")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    net = Encoder().to(device, memory_format=torch.channels_last)
    objective = Objective().to(device)
    parameters = list(net.parameters()) + list(objective.parameters())
    optimiser = torch.optim.SGD(parameters, PEAK_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY, nesterov=True)
    checkpoint = options.out.with_name(options.out.name + ".checkpoint")
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        if state["seed"] != options.seed:
            raise SystemExit(f"{checkpoint} belongs to seed {state['seed']}: remove it or give that seed")
        net.load_state_dict(state["net"])
        objective.load_state_dict(state["objective"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
        print(f"going on from step {step}, {spent / 60:.1f} minutes spent", flush=True)

    def progress() -> float:
        return step / options.steps if options.steps else spent / (60 * options.minutes)

    def save() -> None:
        save_checkpoint(checkpoint, {
            "seed": options.seed, "step": step, "spent": spent, "net": net.state_dict(),
            "objective": objective.state_dict(), "optimiser": optimiser.state_dict(),
        })
        export.write(options.out, net.state_dict(), {
            "seed": options.seed, "steps": step, "chips": step * IMAGES * WAYS * SAMPLES,
            "minutes": round(spent / 60, 1),
            "recipe": f"prototypical episodes of drawn chips, {IMAGES} images x {WAYS} classes x {SAMPLES} chips",
            "sgd": {"rate": PEAK_RATE, "weight_decay": WEIGHT_DECAY, "schedule": "cosine"}, "torch": torch.__version__,
        })

    episodes = Episodes(options.seed, step, options.steps - step if options.steps else 10**9)
    loader = DataLoader(
        episodes, batch_size=None, num_workers=options.workers, worker_init_fn=one_thread,
        prefetch_factor=4 if options.workers else 2,
    )
    began, saved, told = time.monotonic() - spent, time.monotonic(), (time.monotonic(), step)
    sums = torch.zeros(3)
    net.train()
    for chips in loader:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(progress(), step)
        chips = chips.reshape(-1, 1, *chips.shape[-2:]).to(device, memory_format=torch.channels_last)
        # bfloat16 doubles the speed where the processor has it and keeps float32's range, so no loss scaling.
        with torch.autocast(device.type, dtype=torch.bfloat16):
            maps = net(chips)
        loss, right, right_within = objective(maps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        step += 1
        spent = time.monotonic() - began
        sums += torch.tensor([loss.item(), right.item(), right_within.item()])
        if step % 100 == 0:
            now = time.monotonic()
            rate = (step - told[1]) * IMAGES * WAYS * SAMPLES / (now - told[0])
            left = spent * (1 / max(progress(), 1e-6) - 1)
            mean = (sums / (step - told[1])).tolist()
            print(f"step {step} {rate:.0f} chips/s, {left / 60:.1f} min left, loss {mean[0]:.3f}, "
                  f"right {mean[1]:.3f}, within an image {mean[2]:.3f}", flush=True)
            sums.zero_()
            told = (now, step)
        if time.monotonic() - saved > 60:
            save()
            saved = time.monotonic()
        if progress() >= 1:
            break
    save()
    every, within = validate(net, device)
    print(f"done: {step} steps; on drawn validation episodes right {every:.3f}, within an image {within:.3f}")


if __name__ == "__main__":
    main()
