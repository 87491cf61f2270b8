"""Train an encoder on drawn chips: prototypical episodes (Snell et al. 2017).

    python3 models/training/train.py --out models/default.safetensors

The network sees canvases: the drawn chips of an image with what surrounds each, side by side. Each chip is pooled
from its own window of the maps, as the service does it for the chips of an image.

Every choice stands in the config (default.toml, or --config FILE), which is stored in the weights. A checkpoint lies
beside the output, and the same command goes on from it. Every step's chips depend on the seed and the step only, so
on a CPU the same config gives the same file, with or without stops. What is written is the average of the weights
over the last steps.
"""
from __future__ import annotations

import argparse
import copy
import ctypes
import hashlib
import math
import os
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import config as configs
import draw
import export
from config import Config
from model import FLOOR, TRAINING_FLOOR, Encoder, Windows, embed, embed_windows, standardise

VALIDATION_SEED = 987_654
SHARED_MEMORY = 4 << 30  # bytes that the drawn episodes under way may take
CPU = torch.device("cpu")


class Sheet(NamedTuple):
    """The chips of an episode, sorted by class, and how they are laid on canvases, one an image."""

    fields: Tensor  # (images, chips, side, side) float16: chips with what surrounds them
    order: Tensor  # (images, chips): which chip lies in each cell, row by row
    top: int  # pixels cut off the canvas, which moves the chips against the network's steps
    left: int


class Episodes(Dataset):
    """The episodes from `first` on."""

    def __init__(self, config: Config, first: int, device: torch.device) -> None:
        self.config, self.first, self.device = config, first, device

    def __len__(self) -> int:
        return self.config.run.steps - self.first

    def __getitem__(self, index: int) -> Sheet:
        return sheet(self.config, self.config.run.seed, self.first + index, self.device)


def dice_of(seed: int, number: int) -> random.Random:
    return random.Random(seed * 1_000_033 + number)


def input_side(config: Config, seed: int, number: int) -> int:
    """One of the episode's input sizes."""
    return dice_of(seed, number).choice(config.episode.input_sizes)


def sheet(config: Config, seed: int, number: int, device: torch.device) -> Sheet:
    side, dice = input_side(config, seed, number), dice_of(seed + 500_009, number)
    fields = draw.episode(config.world, config.episode, seed, number, side, device).flatten(1, 2)
    images, chips, outer, _ = fields.shape
    order = torch.tensor([dice.sample(range(chips), chips) for _ in range(images)], device=device)
    return Sheet(fields.half(), order, dice.randint(0, (outer - side) // 2), dice.randint(0, (outer - side) // 2))


def canvases(config: Config, drawn: Sheet) -> tuple[Tensor, Tensor, Windows]:
    """The canvases (images, 1, height, width), the chips (images * chips, 1, side, side) in the order of their
    windows, and the windows."""
    images, chips, outer, _ = drawn.fields.shape
    side, ways = round(outer / (1 + 2 * config.world.margin)), config.episode.ways
    margin = (outer - side) // 2
    cells = torch.gather(drawn.fields.float(), 1, drawn.order[:, :, None, None].expand_as(drawn.fields))
    canvas = cells.reshape(images, ways, chips // ways, outer, outer).transpose(2, 3).reshape(images, ways * outer, -1)
    # All are cut to the same size, wherever the cut is.
    height, width = canvas.shape[1] - margin, canvas.shape[2] - margin
    canvas = canvas[:, None, drawn.top : drawn.top + height, drawn.left : drawn.left + width]
    tops = tuple(float(row * outer + margin - drawn.top) for row in range(ways))
    lefts = tuple(float(column * outer + margin - drawn.left) for column in range(chips // ways))
    return canvas, draw.inner(cells, side).reshape(-1, 1, side, side), Windows(tops, lefts, side)


def drawn(config: Config, seed: int, number: int, device: torch.device) -> Tensor:
    """The chips of an episode alone: (chips, 1, side, side), the side one of the episode's input sizes"""
    side = input_side(config, seed, number)
    fields = draw.episode(config.world, config.episode, seed, number, side, device)
    return draw.inner(fields, side).reshape(-1, 1, side, side)


def begin_drawing(_: int) -> None:
    """In a process that draws: one thread, which lets the process that trains go first, and memory is kept that is
    asked for again at once; otherwise a fifth of the time goes to the kernel, which clears it."""
    torch.set_num_threads(1)
    os.nice(5)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # the C library's, where it has it
    if mallopt:
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD


def piped(drawn: Sheet) -> Sheet:
    """For arrays go from process to process through a pipe, tensors through shared memory."""
    return drawn._replace(fields=drawn.fields.numpy(), order=drawn.order.numpy())


def received(drawn: Sheet, device: torch.device) -> Sheet:
    fields, order = (torch.as_tensor(part).to(device, non_blocking=True) for part in drawn[:2])
    return drawn._replace(fields=fields, order=order)


def drawers(workers: int, device: torch.device) -> dict:
    """How the loader keeps processes that draw."""
    if not workers:
        return {}
    beside = {"worker_init_fn": begin_drawing, "prefetch_factor": 4, "pin_memory": device.type == "cuda"}
    shared = Path("/dev/shm")  # of which containers often have little
    if shared.is_dir() and shutil.disk_usage(shared).free < SHARED_MEMORY:
        beside["collate_fn"] = piped
    return beside


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


def by_image(vectors: Tensor, images: int, floor: float = FLOOR) -> Tensor:
    """Standardised over the chips of each image, as the service classifies: (images, ways * samples, dimensions)."""
    return standardise(vectors.reshape(images, -1, vectors.shape[1]), floor)


class Objective(nn.Module):
    """Three questions to the same chips, each with its learnt temperature.

    The last stage's mean must tell all classes of all images apart; so must the pooled vector that the service uses;
    and within an image the pooled vector must do so after standardisation, among the hard negatives.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.weights, self.episode = config.objective, config.episode
        self.last_width = config.network.widths[config.network.pool_stages[-1] - 1]
        self.scales = nn.Parameter(torch.tensor(config.objective.first_scales))

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pooled: (images * ways * samples, dimensions), the vectors of the chips, sorted by image and class"""
        images, ways = self.episode.images, self.episode.ways
        last = pooled[None, :, -2 * self.last_width : -self.last_width]
        all_last, _ = cross_entropy(self.scales[0] * logits(last, images * ways))
        together = standardise(pooled, TRAINING_FLOOR)[None]
        all_pooled, right = cross_entropy(self.scales[1] * logits(together, images * ways))
        apart = by_image(pooled, images, TRAINING_FLOOR)
        within, right_within = cross_entropy(self.scales[2] * logits(apart, ways))
        weights = self.weights
        loss = weights.all_last * all_last + weights.all_pooled * all_pooled + weights.within_pooled * within
        return loss, right, right_within


@torch.no_grad()
def validate(net: Encoder, config: Config, device: torch.device) -> tuple[float, float]:
    """Share of right answers on fixed drawn episodes that training never sees: all classes, and within an image."""
    net.eval()
    right, images, ways = torch.zeros(2), config.episode.images, config.episode.ways
    for number in range(config.run.validation_episodes):
        vectors = embed(net(drawn(config, VALIDATION_SEED, number, CPU).to(device)), net.network.chip_copies)
        right[0] += cross_entropy(logits(standardise(vectors)[None], images * ways))[1].cpu()
        right[1] += cross_entropy(logits(by_image(vectors, images), ways))[1].cpu()
    net.train()
    every, within = (right / config.run.validation_episodes).tolist()
    return every, within


@dataclass
class Progress:
    step: int = 0
    spent: float = 0.0  # seconds, of this and earlier runs together


class Trainer:
    def __init__(self, config: Config, out: Path, device: torch.device) -> None:
        self.config, self.out, self.device = config, out, device
        self.provenance = export.provenance(config)
        self.checkpoint = out.with_name(out.name + ".checkpoint")
        torch.manual_seed(config.run.seed)
        self.net = Encoder(config.network).to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net)
        self.objective = Objective(config).to(device)
        chosen = config.optimiser
        self.optimiser = torch.optim.SGD(
            list(self.net.parameters()) + list(self.objective.parameters()),
            chosen.peak_rate, momentum=chosen.momentum, weight_decay=chosen.weight_decay, nesterov=True,
        )
        # bfloat16 doubles the speed where the processor has it and keeps float32's range. GPUs without it take
        # float16, whose small gradients must be scaled up.
        narrow = device.type == "cuda" and not torch.cuda.is_bf16_supported()
        self.dtype = torch.float16 if narrow else torch.bfloat16
        self.scaler = (torch.amp if hasattr(torch.amp, "GradScaler") else torch.cuda.amp).GradScaler(enabled=narrow)
        self.progress = Progress()
        self.parts = {"net": self.net, "average": self.average, "objective": self.objective,
                      "optimiser": self.optimiser, "scaler": self.scaler}

    def begin(self, start: Path) -> None:
        """From other weights instead of random ones; what the optimiser knew of them is not among them. Stages that
        are not built here are left out."""
        tensors, _ = export.read(start)
        try:
            missing = self.net.load_state_dict(tensors, strict=False).missing_keys
            self.average.load_state_dict(tensors, strict=False)
        except RuntimeError as error:
            raise SystemExit(f"{start}: {error}") from error
        if any(not key.endswith("num_batches_tracked") for key in missing):
            raise SystemExit(f"{start} lacks {', '.join(missing[:3])}, ...")

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.device)
        if state["config"] != self.config.as_dict():
            raise SystemExit(f"{self.checkpoint} belongs to another config: remove it or give that config")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.progress = Progress(state["step"], state["spent"])
        print(f"going on from step {self.progress.step}, {self.progress.spent / 60:.1f} minutes spent", flush=True)

    def save(self) -> None:
        """The checkpoint first: the weights can be made from it, not it from the weights."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"config": self.config.as_dict(), "step": self.progress.step, "spent": self.progress.spent}
        temporary = self.checkpoint.with_name(self.checkpoint.name + ".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.checkpoint)
        layout, step = self.config.episode, self.progress.step
        done = {"steps": step, "chips": step * layout.images * layout.ways * layout.samples}
        export.write(self.out, self.average.state_dict(), export.describe(self.config, {**done, **self.provenance}))

    def cycle(self) -> int:
        """Steps of one cycle; the last may be cut short."""
        return -(-self.config.run.steps // self.config.optimiser.cycles)

    def keep_cycle(self) -> None:
        """The weights at the end of a cycle but the last, for average.py: OUT with .cycleN before its suffix."""
        number, rest = divmod(self.progress.step, self.cycle())
        if rest == 0 and number < self.config.optimiser.cycles:
            self.save()
            shutil.copyfile(self.out, self.out.with_suffix(f".cycle{number}{self.out.suffix}"))

    def learning_rate(self) -> float:
        chosen, length = self.config.optimiser, self.cycle()
        step = self.progress.step % length
        cosine = 0.5 * (1 + math.cos(math.pi * step / length))
        return chosen.peak_rate * min(1.0, (step + 1) / chosen.warm_up) * cosine + chosen.last_rate

    def learn(self, drawn: Sheet) -> Tensor:
        """One step; returns loss and the two shares of right answers, on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        seen, chips, windows = canvases(self.config, drawn)
        with torch.autocast(self.device.type, dtype=self.dtype):
            maps = self.net(seen.contiguous(memory_format=torch.channels_last))
        vectors = embed_windows(maps, self.config.network, chips, windows)
        cells = drawn.order.argsort(1)[:, :, None].expand(-1, -1, vectors.shape[1])
        sorted_vectors = torch.gather(vectors.reshape(*drawn.order.shape, -1), 1, cells).flatten(0, 1)
        loss, right, right_within = self.objective(sorted_vectors)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.progress.step += 1
        self.take_average()
        return torch.stack((loss.detach(), right, right_within))

    @torch.no_grad()
    def take_average(self) -> None:
        """Over about the last 1 / (1 - average) steps; at first over all there were."""
        kept = min(self.config.optimiser.average, self.progress.step / (self.progress.step + 10))
        pairs = zip(self.average.state_dict().values(), self.net.state_dict().values())
        floating = [(mean, live) for mean, live in pairs if live.is_floating_point()]
        means = [mean for mean, _ in floating]
        torch._foreach_mul_(means, kept)
        torch._foreach_add_(means, [live for _, live in floating], alpha=1 - kept)


def train(trainers: list[Trainer], loader: DataLoader, until: int, tell: int) -> None:
    """Up to step `until` on the same chips, with a line each `tell` steps and a checkpoint each minute."""
    config, device, progress = trainers[0].config, trainers[0].device, trainers[0].progress
    layout, steps = config.episode, config.run.steps
    started, first, saved = time.monotonic() - progress.spent, progress.step, time.monotonic()
    told = (saved, first)
    sums = torch.zeros(len(trainers), 3, device=device)
    for trainer in trainers:
        trainer.net.train()
    for drawn in loader if first < until else ():
        drawn = received(drawn, device)
        sums += torch.stack([trainer.learn(drawn) for trainer in trainers])
        now = time.monotonic()
        for trainer in trainers:
            trainer.progress.spent = now - started
            trainer.keep_cycle()
        if progress.step % tell == 0:
            done = progress.step - told[1]
            rate = done / (now - told[0])
            each = "; beside it ".join("loss {:.3f}, right {:.3f}, within an image {:.3f}".format(*row)
                                       for row in (sums / done).tolist())
            print(f"step {progress.step} of {steps}, {rate * layout.images * layout.ways * layout.samples:.0f} "
                  f"chips/s, {(steps - progress.step) / rate / 60:.1f} min left, {each}", flush=True)
            sums.zero_()
            told = (now, progress.step)
        if now - saved > 60:
            for trainer in trainers:
                trainer.save()
            saved = now
        if progress.step >= until:
            break
    for trainer in trainers:
        trainer.save()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=configs.DEFAULT)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="change one value of the config, in TOML's notation: network.input_size=96")
    parser.add_argument("--steps", type=int, help="short for --set run.steps=N")
    parser.add_argument("--seed", type=int, help="short for --set run.seed=N")
    parser.add_argument("--start", type=Path, help="weights to start from instead of random ones; their SHA-256 becomes "
                        "run.start of the config")
    parser.add_argument("--beside", nargs="+", action="append", default=[], metavar="WORD",
                        help="START OUT [KEY=VALUE]...: train another network on the same chips, from these weights "
                        "or nothing, with values of its own")
    parser.add_argument("--until", type=int, help="stop after this step, to go on later (0: the untrained network)")
    parser.add_argument("--tell", type=int, default=100, help="steps from one line of progress to the next")
    parser.add_argument("--workers", type=int, help="processes that draw (default: 1 on a CPU; beside a GPU that does "
                        "not draw itself, one a processor but for one)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that train")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--draw-device", help="where chips are drawn (default: where the network trains)")
    return parser.parse_args()


def trainer_of(options: argparse.Namespace, settings: list[str], start: Path | None, out: Path) -> Trainer:
    """Ready to go on where it stopped."""
    try:
        if start:
            settings = settings + [f'run.start="{hashlib.sha256(start.read_bytes()).hexdigest()}"']
        config = configs.load(options.config, settings)
    except (configs.ConfigError, OSError) as error:
        raise SystemExit(f"{options.config}: {error}") from error
    if config.run.start != "nothing" and not start:
        raise SystemExit(f"{options.config}: run.start wants the weights of that SHA-256: name them by --start")
    trainer = Trainer(config, out, torch.device(options.device))
    if start:
        trainer.begin(start)
    trainer.resume()
    return trainer


def main() -> None:
    options = arguments()
    settings = options.set + [f"run.{key}={value}" for key in ("steps", "seed")
                              if (value := getattr(options, key)) is not None]
    device = torch.device(options.device)
    draw_device = torch.device(options.draw_device or options.device)
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # canvases have few sizes
    trainer = trainer_of(options, settings, options.start, options.out)
    trainers = [trainer]
    for start, *out in options.beside:
        if not out:
            raise SystemExit("--beside wants START and OUT")
        weights = None if start == "nothing" else Path(start)
        trainers.append(trainer_of(options, settings + out[1:], weights, Path(out[0])))
    if any(other.progress.step != trainer.progress.step for other in trainers):
        raise SystemExit("networks trained beside each other must stand at the same step: remove their checkpoints")
    config = trainer.config

    workers = options.workers
    if draw_device.type != "cpu":
        workers = 0  # this process draws; the device works through its queue meanwhile
    elif workers is None:
        workers = 1 if device.type == "cpu" else max(1, (os.cpu_count() or 1) - 1)
    episodes = Episodes(config, trainer.progress.step, draw_device)
    loader = DataLoader(episodes, batch_size=None, num_workers=workers, **drawers(workers, device))
    train(trainers, loader, config.run.steps if options.until is None else options.until, options.tell)
    print(f"done: {trainer.progress.step} steps, {trainer.progress.spent / 60:.1f} minutes", flush=True)
    if config.run.validation_episodes and trainer.progress.step == config.run.steps:
        for trainer in trainers:
            every, within = validate(trainer.average, config, device)
            print(f"{trainer.out}: on drawn validation episodes right {every:.3f}, within an image {within:.3f}")


if __name__ == "__main__":
    main()
