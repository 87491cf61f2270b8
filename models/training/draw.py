"""A drawn world of electron micrographs. No photograph enters it.

An episode is a handful of imaginary images. Each image has its own materials, magnification, dose, scan and detector,
and shows a few kinds of chips (classes) that belong together: a grain, the other grain and their boundary; a support
with and without particles; a lattice with and without a vacancy. Most classes of an image differ in one property
only, so that neither noise nor brightness of the whole image tells them apart: these are the hard negatives a
microscopist's own question is made of.

A chip is a ground material, a figure material, and a shape that says where the figure lies:

    value = (1 - shape) * ground + shape * figure    or, where thicknesses add up,    ground + shape * figure

Materials are flat, a random texture (amorphous film, speckle, two-phase structures), or a crystal. Units: native
pixels for lengths, 0..1 for intensities, radians for angles.

Sources. Image formation: HAADF intensity is nearly incoherent, a sum of columns of weight about Z^1.7 blurred by the
probe (Pennycook & Jesson 1991; Kirkland 2020), hence Gaussians on lattice sites. Dislocations and faults: the phase
picture of a displaced lattice (Hirsch et al. 1977). Detector: Poisson counts, Gaussian read noise, correlated noise
of scintillators and scan lines (Jones & Nellist 2013 for scan distortion). Gamma-prime precipitates: superellipses
on a disturbed lattice, between cube and sphere as misfit and ageing decide (Reed 2006).
"""
from __future__ import annotations

import math
import random
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from config import Episode, World

CELL = 32  # samples along each edge of the tabulated unit cell


class Dice(random.Random):
    """A stream of random numbers, and the world in which they choose."""

    world: World


@dataclass(frozen=True)
class Crystal:
    pitch: float  # length of the first lattice vector
    ratio: float  # second over first
    angle: float  # between the two
    turn: float
    basis: tuple[tuple[float, float, float], ...]  # fractional x, y and brightness of each column
    probe: float  # standard deviation of a column, in pixels
    defect: str = ""  # "", point, dislocation, fault
    strength: float = 0.0  # brightness of the point defect, or size of the fault shift in lattice vectors
    kind: str = "crystal"


@dataclass(frozen=True)
class Texture:
    slope: float  # of the amplitude spectrum, where there is no band
    centre: float  # of the band, cycles per pixel; 0: no band
    width: float  # of the band, as a standard deviation of the logarithm of frequency
    stretch: float  # anisotropy, 0..1
    turn: float
    hardness: float  # of the grey curve: low is grey, high is two phases
    kind: str = "texture"


@dataclass(frozen=True)
class Flat:
    kind: str = "flat"


@dataclass(frozen=True)
class Material:
    pattern: Crystal | Texture | Flat
    level: float
    contrast: float
    uneven: float = 0.06  # how much the level differs from chip to chip, and half as much across one


@dataclass(frozen=True)
class Shape:
    kind: str  # none, half, stripe, objects, array, grains
    size: float = 8.0  # radius, half width or pitch, in pixels
    count: int = 1
    stretch: float = 1.0
    power: float = 2.0  # of the superellipse: 1 diamond, 2 ellipse, large box
    soft: float = 1.0
    profile: str = "disc"  # disc, sphere, spot, ring, lobes
    turn: float = 0.0
    aligned: bool = True  # do objects of a class share their orientation?
    fill: float = 0.3


@dataclass(frozen=True)
class Scene:
    ground: Material
    figure: Material
    shape: Shape
    added: bool = False  # the figure lies on the ground instead of replacing it


def log_uniform(dice: Dice, low: float, high: float) -> float:
    return math.exp(dice.uniform(math.log(low), math.log(high)))


def chosen(dice: Dice, shares: dict[str, float]) -> str:
    return dice.choices(tuple(shares), tuple(shares.values()))[0]


def some_crystal(dice: Dice) -> Crystal:
    """The five plane Bravais lattices; one to six columns, often on special positions as projected structures are."""
    lattice = chosen(dice, dice.world.lattices)
    ratio = 1.0 if lattice in ("square", "hexagonal") else dice.uniform(0.5, 1.0)
    angle = {"hexagonal": 2 * math.pi / 3, "oblique": dice.uniform(1.1, 2.0)}.get(lattice, math.pi / 2)
    count = dice.choices(range(1, len(dice.world.columns) + 1), dice.world.columns)[0]
    special = ((0.5, 0.5), (1 / 3, 2 / 3), (0.5, 0.0), (0.0, 0.5), (0.25, 0.25))
    basis = [(0.0, 0.0, 1.0)]
    for _ in range(count - 1):
        x, y = dice.choice(special) if dice.random() < 0.5 else (dice.random(), dice.random())
        # Z between carbon and lead: brightness ratios from nearly nothing to one.
        basis.append((x, y, max(0.05, dice.random() ** 1.3)))
    if dice.random() < 0.2:  # a dumbbell, as the diamond lattice along <110>
        basis.append((0.25 * dice.uniform(0.5, 1.2), dice.choice((0.0, 0.25)), dice.uniform(0.6, 1.0)))
    pitch = log_uniform(dice, *dice.world.pitch) * (1.0 if count < 4 else 1.4)
    # The probe resolves most lattices that people label, some barely.
    probe = max(0.6, pitch * ratio * dice.uniform(0.07, 0.24) / math.sqrt(count))
    return Crystal(pitch, ratio, angle, dice.uniform(0, 2 * math.pi), tuple(basis), probe)


def some_texture(dice: Dice) -> Texture:
    banded = dice.random() < 0.5
    return Texture(
        slope=dice.uniform(0.0, 2.5),
        centre=log_uniform(dice, 0.015, 0.35) if banded else 0.0,
        width=dice.uniform(0.15, 1.2),
        stretch=dice.uniform(0.3, 0.95) if dice.random() < 0.35 else 0.0,
        turn=dice.uniform(0, math.pi),
        hardness=log_uniform(dice, 0.5, 6.0),
    )


def some_material(dice: Dice, crystal_share: float) -> Material:
    if dice.random() < crystal_share:
        return Material(some_crystal(dice), dice.uniform(0.2, 1.0), dice.uniform(0.2, 1.0))
    if dice.random() < 0.7:
        return Material(some_texture(dice), dice.uniform(0.05, 1.0), dice.uniform(0.03, 0.8))
    return Material(Flat(), dice.uniform(0.0, 1.0), 0.0)


def some_objects(dice: Dice) -> Shape:
    profile = chosen(dice, dice.world.profiles)
    size = log_uniform(dice, 0.8, 6.0) if profile == "spot" else log_uniform(dice, 2.0, 26.0)
    return Shape(
        "objects",
        size=size,
        count=dice.choice((1, 1, 2, 3, 5, 8)) if size < 8 else dice.choice((1, 1, 2)),
        stretch=1.0 if dice.random() < 0.4 else log_uniform(dice, 1.0, 5.0),
        power=dice.choice((1.0, 2.0, 2.0, 2.0, 4.0, 8.0)),
        soft=log_uniform(dice, 0.4, 4.0),
        profile=profile,
        turn=dice.uniform(0, math.pi),
        aligned=dice.random() < 0.5,
    )


def some_border(dice: Dice, chip: int) -> Shape:
    if dice.random() < 0.6:
        soft, turn = log_uniform(dice, 0.4, 6.0), dice.uniform(0, 2 * math.pi)
        return Shape("half", soft=soft, turn=turn, aligned=dice.random() < 0.6)
    size, turn = log_uniform(dice, 1.0, chip / 5), dice.uniform(0, math.pi)
    return Shape("stripe", size=size, turn=turn, aligned=dice.random() < 0.6)


def some_microstructure(dice: Dice, chip: int) -> Shape:
    if dice.random() < 0.65:
        return Shape(
            "array",
            size=log_uniform(dice, 5.0, 1.2 * chip),
            stretch=log_uniform(dice, 0.6, 1.7),
            power=dice.uniform(1.6, 6.0),
            soft=dice.uniform(0.02, 0.15),
            turn=dice.uniform(0, math.pi),
            fill=dice.uniform(0.2, 0.47),
        )
    return Shape("grains", size=log_uniform(dice, 6.0, 0.7 * chip))


def changed_crystal(dice: Dice, c: Crystal) -> Crystal:
    """The same crystal but for one property."""
    change = dice.choice(("turn", "pitch", "weights", "basis", "ratio", "probe"))
    if change == "turn":
        return replace(c, turn=c.turn + dice.choice((-1, 1)) * dice.uniform(0.15, 0.9))
    if change == "pitch":
        return replace(c, pitch=c.pitch * dice.choice((0.6, 0.75, 0.85, 1.2, 1.4, 1.7)))
    if change == "ratio":
        return replace(c, ratio=c.ratio * dice.uniform(0.6, 0.85), angle=c.angle + dice.uniform(-0.2, 0.2))
    if change == "probe":
        return replace(c, probe=c.probe * dice.uniform(1.35, 1.9))
    if change == "weights" and len(c.basis) > 1:
        return replace(c, basis=c.basis[:1] + tuple((x, y, dice.uniform(0.0, 1.2)) for x, y, _ in c.basis[1:]))
    return replace(c, basis=c.basis[:1] + ((dice.random(), dice.random(), dice.uniform(0.4, 1.0)),) + c.basis[2:])


def changed_texture(dice: Dice, t: Texture) -> Texture:
    change = dice.choice(("scale", "turn", "hardness", "spectrum"))
    if change == "scale":
        return replace(t, centre=t.centre * dice.choice((0.55, 1.7)), slope=t.slope + dice.choice((-0.8, 0.8)))
    if change == "turn":
        return replace(t, stretch=max(t.stretch, 0.6), turn=t.turn + dice.uniform(0.5, 1.6))
    if change == "hardness":
        return replace(t, hardness=t.hardness * dice.choice((0.3, 3.0)))
    return replace(t, centre=0.0 if t.centre else log_uniform(dice, 0.03, 0.3), width=dice.uniform(0.2, 1.0))


def changed_material(dice: Dice, m: Material) -> Material:
    if isinstance(m.pattern, Flat) or dice.random() < 0.25:
        if dice.random() < 0.5 and m.contrast > 0:
            return replace(m, contrast=m.contrast * dice.choice((0.45, 1.8)))
        return replace(m, level=max(0.0, m.level + dice.choice((-1, 1)) * dice.uniform(0.12, 0.4)))
    if isinstance(m.pattern, Crystal):
        return replace(m, pattern=changed_crystal(dice, m.pattern))
    return replace(m, pattern=changed_texture(dice, m.pattern))


def changed_shape(dice: Dice, s: Shape) -> Shape:
    if s.kind == "half":
        return Shape("stripe", size=dice.uniform(1.5, 6.0), turn=s.turn, aligned=s.aligned)
    if s.kind in ("stripe", "grains"):
        return replace(s, size=s.size * dice.choice((0.5, 2.0)))
    change = dice.choice(("size", "count", "stretch", "power", "profile"))
    if change == "count" and s.kind == "objects":
        return replace(s, count=s.count + 3 if s.count < 4 else 1)
    if change == "stretch":
        return replace(s, stretch=s.stretch * dice.uniform(1.8, 3.0))
    if change == "power":
        return replace(s, power=6.0 if s.power <= 2.0 else 1.3)
    if change == "profile" and s.kind == "objects":
        return replace(s, profile=dice.choice([p for p in dice.world.profiles if p != s.profile]))
    return replace(s, size=s.size * dice.choice((0.5, 2.0)))


def some_image(dice: Dice, ways: int, chip: int) -> list[Scene]:
    """The classes of one image."""
    nothing = Shape("none")
    topic = chosen(dice, dice.world.topics)
    # Supports are wedges, folds and holey films, and foils bend: the ground under the objects that are asked for
    # may differ more from chip to chip than the objects stand out, and must not decide the answer.
    uneven = dice.choice(dice.world.uneven)
    added = dice.random() < 0.6
    a, b = some_material(dice, 0.55), some_material(dice, 0.5)
    if topic in ("crystals", "point", "extended"):
        a = some_material(dice, 1.0)
    plain = Scene(a, b, nothing)
    if topic == "crystals":
        scenes = [plain, replace(plain, ground=changed_material(dice, a))]
        scenes.append(replace(plain, ground=some_material(dice, 0.8)))
    elif topic == "textures":
        a = some_material(dice, 0.0)
        plain = Scene(a, b, nothing)
        scenes = [plain] + [replace(plain, ground=changed_material(dice, a)) for _ in range(2)]
    elif topic == "interface":
        if dice.random() < 0.6:  # two grains of one crystal, or two phases that are much alike
            b = changed_material(dice, a)
        scenes = [plain, Scene(b, a, nothing), Scene(a, b, some_border(dice, chip))]
    elif topic == "objects":
        a = replace(some_material(dice, 0.25), uneven=uneven)
        if added:
            b = replace(some_material(dice, 0.3), level=dice.uniform(0.1, 0.8))
        elif dice.random() < 0.7:
            b = some_material(dice, 0.3)
            level = a.level + dice.choice((1, 1, -1)) * dice.uniform(0.08, 0.7)
            b = replace(b, level=min(1.5, max(0.0, level)))
        objects = some_objects(dice)
        scenes = [Scene(a, b, nothing), Scene(a, b, objects, added), Scene(a, b, changed_shape(dice, objects), added)]
        other = Scene(a, changed_material(dice, b), objects, added)
        scenes.append(Scene(b, a, nothing) if objects.size > 12 and not added else other)
    elif topic == "atoms":
        # Single atoms on a thin noisy support: spots of the probe's width, a little above its roughness, and always
        # added to it. The dose that leaves them in place leaves them near the noise.
        a = Material(some_texture(dice), dice.uniform(0.1, 0.6), dice.uniform(0.05, 0.5), uneven)
        b = Material(Flat(), dice.uniform(0.12, 0.7), 0.0)
        spot = Shape("objects", log_uniform(dice, 0.8, 4.0), dice.choice((1, 1, 2, 4)), soft=0.5, profile="spot")
        scenes = [Scene(a, b, nothing), Scene(a, b, spot, True)]
        scenes.append(Scene(a, b, replace(spot, count=spot.count + 4), True))
        scenes.append(Scene(a, b, replace(spot, size=spot.size * 2.2), True))
    elif topic == "point":
        crystal = a.pattern
        assert isinstance(crystal, Crystal)
        crystal = replace(crystal, pitch=max(crystal.pitch, 7.0))
        a = replace(a, pattern=crystal, contrast=max(a.contrast, 0.4))
        sizes = (-dice.uniform(0.5, 1.0), dice.uniform(0.5, 1.2))
        scenes = [Scene(a, b, nothing)]
        scenes += [Scene(replace(a, pattern=replace(crystal, defect="point", strength=s)), b, nothing) for s in sizes]
    elif topic == "extended":
        crystal = a.pattern
        assert isinstance(crystal, Crystal)
        a = replace(a, contrast=max(a.contrast, 0.4))
        shift = dice.choice((1 / 3, 0.5, 0.5, dice.uniform(0.2, 0.8)))
        scenes = [Scene(a, b, nothing)]
        for broken in (replace(crystal, defect="dislocation"), replace(crystal, defect="fault", strength=shift)):
            scenes.append(Scene(replace(a, pattern=broken), b, nothing))
    else:
        a = some_material(dice, 0.1)
        b = replace(changed_material(dice, a), level=max(0.0, a.level + dice.choice((-1, 1)) * dice.uniform(0.1, 0.6)))
        structure = some_microstructure(dice, chip)
        pitch = max(4.0, structure.size * dice.uniform(0.12, 0.4))
        fine = Shape("array", pitch, soft=0.1, fill=dice.uniform(0.15, 0.35))
        scenes = [Scene(a, b, structure), Scene(a, b, fine), Scene(a, b, nothing), Scene(b, a, nothing)]
    while len(scenes) < ways:
        scene = dice.choice(scenes)
        if scene.shape.kind != "none" and dice.random() < 0.5:
            scenes.append(replace(scene, shape=changed_shape(dice, scene.shape)))
        else:
            scenes.append(replace(scene, ground=changed_material(dice, scene.ground)))
    dice.shuffle(scenes)
    return scenes[:ways]


def uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return torch.rand(shape) * (high - low) + low


def axes(chip: int) -> tuple[Tensor, Tensor]:
    """Pixel coordinates from the chip's centre: x along rows (1, 1, n) and y (1, n, 1)."""
    r = torch.arange(chip, dtype=torch.float32) - (chip - 1) / 2
    return r[None, None, :], r[None, :, None]


def per_chip(n: int, low: float, high: float) -> Tensor:
    return uniform((n, 1, 1), low, high)


def draw_crystal(c: Crystal, n: int, chip: int) -> Tensor:
    """Look up a tabulated unit cell at the fractional coordinates of every pixel.

    Through the table any displacement field costs the same as none. The table is the Fourier sum of the columns with
    the probe's transfer, so it is band-limited and periodic by construction.
    """
    # The cell of this class; tilt off the axis lengthens the columns along one direction, a little, chip by chip.
    h = torch.fft.fftfreq(CELL, 1 / CELL)
    hx, hy = h[None, :], h[:, None]
    ax, bx, by = c.pitch, c.pitch * c.ratio * math.cos(c.angle), c.pitch * c.ratio * math.sin(c.angle)
    gx, gy = hx / ax, (hy - hx * bx / ax) / by  # reciprocal lattice, cycles per pixel, before the turn
    spectrum = torch.zeros(CELL, CELL, dtype=torch.complex64)
    for x, y, weight in c.basis:
        phase = -2 * math.pi * (hx * x + hy * y)
        spectrum += weight * torch.polar(torch.ones_like(phase), phase)
    tilt = random_normal(n) * 0.25 * c.probe
    lean = per_chip(n, 0, math.pi)
    along = gx * torch.cos(lean) + gy * torch.sin(lean)
    transfer = torch.exp(-2 * math.pi**2 * (c.probe**2 * (gx**2 + gy**2) + tilt**2 * along**2))
    cell = torch.fft.ifft2(spectrum * transfer).real
    low, high = cell.amin((1, 2), True), cell.amax((1, 2), True)
    cell = (cell - low) / (high - low + 1e-9)

    strain, spin, skew = 1 + 0.02 * random_normal(n), c.turn + 0.05 * random_normal(n), 0.015 * random_normal(n)
    x, y = axes(chip)
    u = (x * torch.cos(spin) + y * torch.sin(spin)) * strain
    v = (-x * torch.sin(spin) + y * torch.cos(spin)) * strain + skew * u
    fy = v / by
    fx = (u - fy * bx) / ax
    start_x, start_y = per_chip(n, 0, 1), per_chip(n, 0, 1)
    fx, fy = fx + start_x, fy + start_y

    if c.defect in ("dislocation", "fault"):
        px, py = per_chip(n, -0.25, 0.25) * chip, per_chip(n, -0.25, 0.25) * chip
        if c.defect == "dislocation":
            # The displacement grows by one lattice vector around the core: no seam, but a lattice line ends there.
            slip = torch.atan2(y - py, x - px) / (2 * math.pi)
        else:
            across = (x - px) * math.cos(c.turn) + (y - py) * math.sin(c.turn)
            slip = c.strength * torch.sigmoid(4 * across / c.pitch)
        fx, fy = (fx + slip, fy) if c.ratio < 0.85 or c.defect == "dislocation" else (fx, fy + slip)

    at = torch.stack((fx - fx.floor(), fy - fy.floor()), -1)
    # One wrapped sample behind the last: positions 0..1 lie between samples 0 and CELL.
    wrapped = F.pad(cell[:, None], (0, 1, 0, 1), mode="circular")
    image = F.grid_sample(wrapped, at * 2 - 1, mode="bilinear", align_corners=True)[:, 0]

    if c.defect == "point":
        # The site of the first column nearest to a place near the chip's middle.
        want_x = ((per_chip(n, -0.2, 0.2) * chip) / ax + start_x).round() - start_x
        want_y = ((per_chip(n, -0.2, 0.2) * chip) / by + start_y).round() - start_y
        du, dv = u - (want_x * ax + want_y * bx), v - want_y * by
        image = image + c.strength * torch.exp(-(du**2 + dv**2) / (2 * (1.2 * c.probe) ** 2))
    return image


def random_normal(n: int) -> Tensor:
    return torch.randn(n, 1, 1)


def coloured(t: Texture, n: int, chip: int) -> Tensor:
    """Gaussian noise with the texture's spectrum, of unit variance."""
    fx, fy = torch.fft.rfftfreq(chip)[None, None, :], torch.fft.fftfreq(chip)[None, :, None]
    turn = t.turn + 0.06 * random_normal(n)
    u, v = fx * torch.cos(turn) + fy * torch.sin(turn), -fx * torch.sin(turn) + fy * torch.cos(turn)
    radius = torch.sqrt(u**2 * (1 + 8 * t.stretch**2) + v**2 * (1 - 0.9 * t.stretch) + (0.3 / chip) ** 2)
    if t.centre:
        gain = torch.exp(-((radius / t.centre).log() ** 2) / (2 * t.width**2))
    else:
        gain = radius**-t.slope
    field = torch.fft.irfft2(torch.fft.rfft2(torch.randn(n, chip, chip)) * gain, s=(chip, chip))
    return field / (field.std((1, 2), keepdim=True) + 1e-6)


def draw_material(m: Material, n: int, chip: int) -> Tensor:
    if isinstance(m.pattern, Crystal):
        pattern = draw_crystal(m.pattern, n, chip)
    elif isinstance(m.pattern, Texture):
        pattern = torch.sigmoid(m.pattern.hardness * coloured(m.pattern, n, chip))
    else:
        pattern = torch.full((n, chip, chip), 0.5)
    # Mass thickness differs a little from place to place.
    x, y = axes(chip)
    bend = 1 + m.uneven / chip * (x * random_normal(n) + y * random_normal(n))
    level = (m.level * (1 + m.uneven * random_normal(n)) * bend).clamp(min=0)
    contrast = m.contrast * (1 + 0.12 * random_normal(n))
    return level * (1 + contrast * (2 * pattern - 1))


def superellipse(u: Tensor, v: Tensor, power: float) -> Tensor:
    if power == 2.0:
        return torch.sqrt(u**2 + v**2 + 1e-6)
    return ((u.abs() + 1e-3) ** power + (v.abs() + 1e-3) ** power) ** (1 / power)


def draw_objects(s: Shape, n: int, chip: int) -> Tensor:
    x, y = axes(chip)
    whole = torch.zeros(n, chip, chip)
    for number in range(s.count):
        # The first lies well inside, since a chip is labelled by what it shows; some of the others may be missing.
        reach = 0.3 if number == 0 else 0.5
        turn = s.turn + 0.1 * random_normal(n) if s.aligned else per_chip(n, 0, math.pi)
        dx, dy = x - per_chip(n, -reach, reach) * chip, y - per_chip(n, -reach, reach) * chip
        radius = s.size * torch.exp(0.18 * random_normal(n))
        u = (dx * torch.cos(turn) + dy * torch.sin(turn)) / radius
        v = (-dx * torch.sin(turn) + dy * torch.cos(turn)) / radius * s.stretch
        rho = superellipse(u, v, s.power)
        if s.profile == "disc":
            one = torch.sigmoid((1 - rho) * radius / s.soft)
        elif s.profile == "sphere":
            one = (1 - rho**2).clamp(min=0).sqrt()  # projected thickness
        elif s.profile == "spot":
            one = torch.exp(-(rho**2) / 2)
        elif s.profile == "ring":
            one = torch.exp(-(((rho - 1) * radius / max(s.soft, 0.15 * s.size)) ** 2))
        else:
            # Strain contrast of a small loop: a bright and a dark lobe along its Burgers vector.
            one = 1.6 * u * torch.exp(-(rho**2) / 2)
        if number:
            one = one * (per_chip(n, 0, 1) < 0.75)
        whole = torch.where(one.abs() > whole.abs(), one, whole)
    return whole


def draw_shape(s: Shape, n: int, chip: int) -> Tensor:
    if s.kind == "objects":
        return draw_objects(s, n, chip)
    x, y = axes(chip)
    turn = s.turn + 0.08 * random_normal(n) if s.aligned else per_chip(n, 0, 2 * math.pi)
    if s.kind in ("half", "stripe"):
        across = x * torch.cos(turn) + y * torch.sin(turn) - per_chip(n, -0.25, 0.25) * chip
        if s.kind == "half":
            return torch.sigmoid(across / s.soft)
        return torch.exp(-((across / s.size) ** 2))
    if s.kind == "array":
        u = (x * torch.cos(turn) + y * torch.sin(turn)) / s.size + per_chip(n, 0, 1)
        v = (-x * torch.sin(turn) + y * torch.cos(turn)) / s.size * s.stretch + per_chip(n, 0, 1)
        wander = Texture(0.0, min(0.4, 0.6 / s.size), 0.5, 0.0, 0.0, 1.0)
        u, v = u + 0.1 * coloured(wander, n, chip), v + 0.1 * coloured(wander, n, chip)
        rho = superellipse(u - u.round(), v - v.round(), s.power)
        return torch.sigmoid((s.fill - rho) / max(s.soft, 0.5 / s.size))
    count = max(2, min(24, round((1.5 * chip / s.size) ** 2)))
    best, whole = torch.full((n, chip, chip), math.inf), torch.zeros(n, chip, chip)
    for _ in range(count):
        d = (x - per_chip(n, -0.75, 0.75) * chip) ** 2 + (y - per_chip(n, -0.75, 0.75) * chip) ** 2
        nearer = d < best
        whole, best = torch.where(nearer, per_chip(n, 0, 1), whole), torch.where(nearer, d, best)
    return whole


def draw_scene(scene: Scene, n: int, chip: int) -> Tensor:
    ground = draw_material(scene.ground, n, chip)
    if scene.shape.kind == "none":
        return ground
    shape = draw_shape(scene.shape, n, chip)
    figure = draw_material(scene.figure, n, chip)
    return ground + shape * (figure if scene.added else figure - ground)


def blurred(image: Tensor, sigma: float) -> Tensor:
    reach = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-(torch.arange(-reach, reach + 1, device="cpu") ** 2) / (2 * sigma**2))
    taps = taps / taps.sum()
    side = image.shape[-1]
    # Shifted sums: for one channel several times as fast as the library's convolution.
    padded = F.pad(image[:, None], (reach,) * 4, mode="reflect")[:, 0]
    rows = sum(tap * padded[:, :, i : i + side] for i, tap in enumerate(taps.tolist()))
    return sum(tap * rows[:, i : i + side] for i, tap in enumerate(taps.tolist()))


def taken(dice: Dice, chips: Tensor) -> Tensor:
    """What the microscope makes of the intensities of one image: probe, scan, dose, detector."""
    n, side, _ = chips.shape
    x, y = axes(side)
    chips = chips.clamp(min=0)
    slope = dice.choice((0.05, 0.15, 0.3)) / side  # thickness and illumination vary across an image
    chips = chips * (1 + slope * (x * random_normal(n) + y * random_normal(n))).clamp(min=0.2)
    world = dice.world
    if dice.random() < world.blur_share:
        chips = blurred(chips, log_uniform(dice, *world.blur))
    if dice.random() < world.jitter_share:  # the beam lands a fraction of a pixel off, row by row
        shift = dice.uniform(*world.jitter) * torch.randn(n, side, 1)
        at = torch.stack(torch.broadcast_tensors((x + shift) / (side / 2), y / (side / 2)), -1)
        chips = F.grid_sample(chips[:, None], at, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]
    dose = log_uniform(dice, *world.dose)
    if dose < 12:  # above, a Gaussian of the same variance is as good and quicker
        chips = torch.poisson(chips * dose) / dose
    else:
        chips = chips + (chips / dose).sqrt() * torch.randn_like(chips)
    if dice.random() < world.read_noise_share:
        noise = torch.randn_like(chips)
        if dice.random() < world.correlated_share:
            noise = blurred(noise, dice.uniform(0.5, 1.2))
        chips = chips + log_uniform(dice, *world.read_noise) * noise
    if dice.random() < world.lines_share:
        chips = chips + log_uniform(dice, *world.lines) * torch.randn(n, side, 1)
    if dice.random() < world.display_share:  # the film or the display curve
        chips = chips.clamp(min=0) ** dice.uniform(*world.display)
    if dice.random() < world.bright_field_share:  # bright field: what scatters is dark
        chips = -chips
    return chips


def normalise(dice: Dice, chips: Tensor, classes: int) -> Tensor:
    """Stretch to 0..1 between percentiles of the image, in which the classes have very unequal areas."""
    sample = chips.reshape(classes, -1)[:, ::29]
    count = sample.shape[1]
    shares = [max(0.02, dice.random() ** 2) for _ in range(classes)]
    seen = torch.cat([row[: max(8, int(count * share / max(shares)))] for row, share in zip(sample, shares)])
    low, high = (torch.quantile(seen, percent / 100) for percent in dice.world.percentiles)
    # Parts of the image that no class shows may be darker or brighter than all classes.
    if dice.random() < dice.world.unseen_share:
        spread = high - low
        low, high = low - dice.uniform(0, 0.4) * spread, high + dice.uniform(0, 0.6) * spread
    return ((chips - low) / (high - low + 1e-6)).clamp(0, 1)


def resized(chips: Tensor, input_size: int) -> Tensor:
    """To the encoder's input, as the service does it: bilinear, with a wider triangle when shrinking."""
    if chips.shape[-1] == input_size:
        return chips[:, None]
    size = (input_size, input_size)
    return F.interpolate(chips[:, None], size, mode="bilinear", align_corners=False, antialias=True)


def placed(device: torch.device) -> AbstractContextManager:
    """Where the tensors of a drawing are made. Only PyTorch 2.0 and later can be told so from outside."""
    if device.type == "cpu":
        return nullcontext()
    if not hasattr(torch.device, "__enter__"):
        raise SystemExit(f"drawing on {device} needs PyTorch 2.0 or later; draw on the CPU (--draw-device cpu)")
    return device


def episode(
    world: World, layout: Episode, seed: int, number: int, input_size: int, device: torch.device = torch.device("cpu")
) -> Tensor:
    """(images, ways, samples, input_size, input_size): chips of `ways` classes in each image. A function of its
    arguments only; other devices have other random numbers."""
    dice = Dice(seed * 1_000_003 + number)
    dice.world = world
    torch.manual_seed(dice.getrandbits(48))
    ways, samples = layout.ways, layout.samples
    drawn = []
    with placed(device):
        for _ in range(layout.images):
            side = dice.choice(world.chip_sizes)
            chips = torch.cat([draw_scene(scene, samples, side) for scene in some_image(dice, ways, side)])
            chips = normalise(dice, taken(dice, chips), ways)
            drawn.append(resized(chips, input_size).reshape(ways, samples, input_size, input_size))
        return torch.stack(drawn)
