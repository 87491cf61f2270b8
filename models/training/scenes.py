"""What an imaginary electron micrograph shows: the choices of dice, before anything is drawn.

Each image has its own materials and a few kinds of chips (classes) that belong together: a grain, the other grain and
their boundary; a support with and without particles; a foil with and without radiation damage. Most classes of an
image differ in one property only, so that neither noise nor brightness of the whole image tells them apart: these are
the hard negatives a microscopist's own question is made of.

A chip is a ground material, a figure material, and a shape that says where the figure lies; draw.py draws them.
Units: native pixels for lengths, 0..1 for intensities, radians for angles.
"""
from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from config import World


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
    fading: float = 0.0  # share of the level that the thinnest chips have lost


@dataclass(frozen=True)
class Shape:
    kind: str  # none, half, stripe, objects, array, grains, patches, lines
    size: float = 8.0  # radius, half width or pitch, in pixels
    count: int = 1
    stretch: float = 1.0
    power: float = 2.0  # of the superellipse: 1 diamond, 2 ellipse, large box
    soft: float = 1.0
    profile: str = "disc"  # disc, sphere, spot, ring, lobes, arcs, fringed
    turn: float = 0.0
    aligned: bool = True  # do objects of a class share their orientation?
    fill: float = 0.3
    waves: float = 0.0  # of contrast along a line: 0 none, 1 dotted


NOTHING = Shape("none")


@dataclass(frozen=True)
class Scene:
    ground: Material
    figure: Material
    shape: Shape
    added: bool = False  # the figure lies on the ground instead of replacing it
    # If not zero, there is no figure: the shape changes the ground's intensity by a share, each chip's between these.
    shade: tuple[float, float] = (0.0, 0.0)
    mottle: float = 0.0  # relative deviation of the ground's slow wandering
    mottle_frequency: float = 0.02  # of that, in cycles per pixel
    also: tuple[Scene, ...] = ()  # what else the class may show; each chip shows one


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


def some_damage(dice: Dice, chip: int) -> Shape:
    """What bends the lattice planes of a foil: clusters and tangles without an outline, dislocation lines, loops."""
    kind = dice.random()
    turn, aligned = dice.uniform(0, math.pi), dice.random() < 0.5
    if kind < 0.5:
        return Shape(
            "patches",
            size=log_uniform(dice, 2.5, 0.8 * chip),
            stretch=1.0 if dice.random() < 0.5 else dice.uniform(1.0, 4.0),
            soft=log_uniform(dice, 0.08, 0.8),
            turn=turn,
            fill=log_uniform(dice, 0.05, 0.6),
        )
    if kind < 0.75:
        size, waves = log_uniform(dice, 0.8, 4.0), dice.uniform(0.3, 1.0) if dice.random() < 0.5 else 0.0
        return Shape("lines", size, dice.choice((1, 1, 2, 3, 5)), turn=turn, aligned=aligned, waves=waves)
    profile = dice.choice(("spot", "ring", "lobes", "arcs", "fringed"))
    size = log_uniform(dice, 1.0, 4.0) if profile == "spot" else log_uniform(dice, 2.0, 12.0)
    count = dice.choice((1, 2, 4, 8, 16)) if size < 5 else dice.choice((1, 2, 4))
    soft = log_uniform(dice, 0.4, 2.0)
    return Shape("objects", size, count, soft=soft, profile=profile, turn=turn, aligned=aligned)


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
    if s.kind == "lines":
        return replace(s, count=s.count + 3) if dice.random() < 0.6 else replace(s, size=s.size * 2.0)
    if s.kind == "patches":
        if dice.random() < 0.5:
            return replace(s, fill=s.fill * 2.5 if s.fill < 0.2 else s.fill * 0.35)
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


def beyond_edge(dice: Dice, level: float, share: float) -> Material:
    """Beyond a wedge's edge: what is left of the amorphous layers on it, at most `share` of its level, or nothing."""
    layer = dice.choice((Flat(), some_texture(dice)))
    return Material(layer, level * dice.uniform(0.0, share), dice.uniform(0.0, 0.3), 0.15)


def boundary_scenes(dice: Dice, chip: int) -> list[Scene]:
    """Two grains of a wedge, what lies beyond its edge, and what is neither grain where they meet.

    A grain that thins keeps its lattice, however dim. A boundary may be as dim, for films and grooves are thinner or of
    lighter atoms, but shows no lattice of its own: it is disordered, or, where it is inclined to the beam, both grains
    at once. Whoever asks for the grains calls it other, often together with what lies beyond.
    """
    fading = dice.uniform(0.4, 0.9)
    a = replace(some_material(dice, 1.0), fading=fading)
    assert isinstance(a.pattern, Crystal)
    a = replace(a, contrast=max(a.contrast, 0.4))
    b = replace(a, pattern=replace(changed_crystal(dice, a.pattern), turn=a.pattern.turn + dice.uniform(-0.8, 0.8)))
    dim = 1 - fading * dice.uniform(0.2, 1.0)
    beyond = Scene(beyond_edge(dice, a.level, 0.4), a, NOTHING)
    disordered = Texture(0.0, 1 / a.pattern.pitch, dice.uniform(0.2, 0.7), 0.0, 0.0, log_uniform(dice, 0.5, 3.0))
    film = Material(disordered, a.level * dim, a.contrast * dice.uniform(0.1, 0.6), 0.15)
    turn = dice.uniform(0, math.pi)
    stripe = Shape("stripe", size=chip * dice.uniform(0.3, 0.7), turn=turn)
    ramp = Shape("half", soft=chip * log_uniform(dice, 0.2, 1.5), turn=turn)
    dimmed = (replace(m, level=m.level * dim, fading=0.0, contrast=m.contrast * dice.uniform(0.5, 1.0)) for m in (a, b))
    met = (Scene(dice.choice((a, b)), film, stripe), Scene(*dimmed, ramp))
    plain = [Scene(a, b, NOTHING), Scene(b, a, NOTHING)]
    if dice.random() < 0.5:
        return plain + [replace(beyond, also=met), replace(beyond, ground=film)]
    return plain + [beyond, replace(met[0], also=met[1:])]


def crystal_scenes(dice: Dice, a: Material, b: Material) -> list[Scene]:
    return [Scene(ground, b, NOTHING) for ground in (a, changed_material(dice, a), some_material(dice, 0.8))]


def texture_scenes(dice: Dice, b: Material) -> list[Scene]:
    a = some_material(dice, 0.0)
    return [Scene(ground, b, NOTHING) for ground in (a, changed_material(dice, a), changed_material(dice, a))]


def interface_scenes(dice: Dice, chip: int, a: Material, b: Material) -> list[Scene]:
    plain = Scene(a, b, NOTHING)
    if dice.random() < 0.6:  # two grains of one crystal, or two phases that are much alike
        b = changed_material(dice, a)
    return [plain, Scene(b, a, NOTHING), Scene(a, b, some_border(dice, chip))]


def object_scenes(dice: Dice, b: Material, uneven: float, added: bool) -> list[Scene]:
    a = replace(some_material(dice, 0.25), uneven=uneven)
    if added:
        b = replace(some_material(dice, 0.3), level=dice.uniform(0.1, 0.8))
    elif dice.random() < 0.7:
        b = some_material(dice, 0.3)
        level = a.level + dice.choice((1, 1, -1)) * dice.uniform(0.08, 0.7)
        b = replace(b, level=min(1.5, max(0.0, level)))
    objects = some_objects(dice)
    scenes = [Scene(a, b, NOTHING), Scene(a, b, objects, added), Scene(a, b, changed_shape(dice, objects), added)]
    other = Scene(a, changed_material(dice, b), objects, added)
    scenes.append(Scene(b, a, NOTHING) if objects.size > 12 and not added else other)
    return scenes


def atom_scenes(dice: Dice, uneven: float) -> list[Scene]:
    # Single atoms on a thin noisy support: spots of the probe's width, a little above its roughness, and always
    # added to it. The dose that leaves them in place leaves them near the noise.
    a = Material(some_texture(dice), dice.uniform(0.1, 0.6), dice.uniform(0.05, 0.5), uneven)
    b = Material(Flat(), dice.uniform(0.12, 0.7), 0.0)
    spot = Shape("objects", log_uniform(dice, 0.8, 4.0), dice.choice((1, 1, 2, 4)), soft=0.5, profile="spot")
    scenes = [Scene(a, b, NOTHING), Scene(a, b, spot, True)]
    scenes.append(Scene(a, b, replace(spot, count=spot.count + 4), True))
    scenes.append(Scene(a, b, replace(spot, size=spot.size * 2.2), True))
    return scenes


def point_scenes(dice: Dice, a: Material, b: Material) -> list[Scene]:
    crystal = a.pattern
    assert isinstance(crystal, Crystal)
    crystal = replace(crystal, pitch=max(crystal.pitch, 7.0))
    a = replace(a, pattern=crystal, contrast=max(a.contrast, 0.4))
    sizes = (-dice.uniform(0.5, 1.0), dice.uniform(0.5, 1.2))
    scenes = [Scene(a, b, NOTHING)]
    scenes += [Scene(replace(a, pattern=replace(crystal, defect="point", strength=s)), b, NOTHING) for s in sizes]
    return scenes


def damage_scenes(dice: Dice, chip: int, b: Material, uneven: float) -> list[Scene]:
    # Diffraction contrast: what bends the planes scatters out of the bright-field beam, or into the dark-field
    # one. It fades without an edge, lies across the border of chips and covers any share of them. Away from it a
    # crystal off its axes shows little but noise and the slow wandering of its thickness.
    depth = dice.choice((-1, -1, -1, 1)) * log_uniform(dice, 0.12, 0.9)
    uneven = min(uneven, abs(depth) * dice.uniform(0.05, 0.4))
    a = replace(some_material(dice, 0.1), level=dice.uniform(0.25, 1.0), uneven=uneven)
    if not isinstance(a.pattern, Crystal):
        pattern = Flat() if dice.random() < 0.5 else a.pattern
        a = replace(a, pattern=pattern, contrast=min(a.contrast, abs(depth) * dice.uniform(0.05, 0.8)))
    # How much a defect takes depends on its place in the foil and on the planes that diffract, and the ground
    # wanders as well, so that clean chips have faint traces of either sign: the question is one of degree.
    damage = some_damage(dice, chip)
    low, high = dice.uniform(0.4, 0.7), dice.uniform(0.9, 1.3)
    plain = Scene(a, b, damage, shade=(low * depth, high * depth))
    if dice.random() < dice.world.mottle_share:
        mottle = abs(depth) * log_uniform(dice, *dice.world.mottle)
        plain = replace(plain, mottle=mottle, mottle_frequency=log_uniform(dice, 0.25, 2.0) / chip)
    clean = replace(plain, shape=NOTHING)
    if dice.random() < dice.world.traces_share:
        clean = replace(plain, shade=(dice.uniform(-0.3, 0.1) * depth, dice.uniform(0.1, 0.9) * low * depth))
    severe = replace(plain, shade=(2.2 * low * depth, 2.2 * high * depth))
    other = dice.choice((severe, replace(plain, shape=some_damage(dice, chip))))
    return [clean, plain, replace(plain, shape=changed_shape(dice, damage)), other]


def extended_scenes(dice: Dice, a: Material, b: Material) -> list[Scene]:
    crystal = a.pattern
    assert isinstance(crystal, Crystal)
    a = replace(a, contrast=max(a.contrast, 0.4))
    shift = dice.choice((1 / 3, 0.5, 0.5, dice.uniform(0.2, 0.8)))
    scenes = [Scene(a, b, NOTHING)]
    for broken in (replace(crystal, defect="dislocation"), replace(crystal, defect="fault", strength=shift)):
        scenes.append(Scene(replace(a, pattern=broken), b, NOTHING))
    return scenes


def microstructure_scenes(dice: Dice, chip: int) -> list[Scene]:
    a = some_material(dice, 0.1)
    b = replace(changed_material(dice, a), level=max(0.0, a.level + dice.choice((-1, 1)) * dice.uniform(0.1, 0.6)))
    structure = some_microstructure(dice, chip)
    pitch = max(4.0, structure.size * dice.uniform(0.12, 0.4))
    fine = Shape("array", pitch, soft=0.1, fill=dice.uniform(0.15, 0.35))
    return [Scene(a, b, structure), Scene(a, b, fine), Scene(a, b, NOTHING), Scene(b, a, NOTHING)]


def some_image(dice: Dice, ways: int, chip: int) -> list[Scene]:
    """The classes of one image."""
    share = dice.world.unrelated_share
    if share and dice.random() < share:
        return [dice.choice(related_scenes(dice, ways, chip)) for _ in range(ways)]
    return related_scenes(dice, ways, chip)


def related_scenes(dice: Dice, ways: int, chip: int) -> list[Scene]:
    """Classes that differ in little: the hard negatives."""
    topic = chosen(dice, dice.world.topics)
    # Supports are wedges, folds and holey films, and foils bend: the ground under the objects that are asked for
    # may differ more from chip to chip than the objects stand out, and must not decide the answer.
    uneven = dice.choice(dice.world.uneven)
    added = dice.random() < 0.6
    a, b = some_material(dice, 0.55), some_material(dice, 0.5)
    if topic in ("crystals", "point", "extended"):
        a = some_material(dice, 1.0)
    # Specimens are wedges: towards the edge a lattice fades into the amorphous layers on it, and stays that lattice.
    # What decides is then whether there is one, and which, not how bright it is.
    wedge = topic in ("crystals", "interface") and dice.random() < dice.world.wedge_share
    if wedge:
        fading = dice.uniform(0.3, 0.85)
        a, b = replace(a, fading=fading), replace(b, fading=fading)
    drawings = {
        "crystals": lambda: crystal_scenes(dice, a, b),
        "textures": lambda: texture_scenes(dice, b),
        "interface": lambda: interface_scenes(dice, chip, a, b),
        "boundary": lambda: boundary_scenes(dice, chip),
        "objects": lambda: object_scenes(dice, b, uneven, added),
        "atoms": lambda: atom_scenes(dice, uneven),
        "point": lambda: point_scenes(dice, a, b),
        "damage": lambda: damage_scenes(dice, chip, b, uneven),
        "extended": lambda: extended_scenes(dice, a, b),
        "microstructure": lambda: microstructure_scenes(dice, chip),
    }
    scenes = drawings[topic]()
    if wedge:
        scenes.append(Scene(beyond_edge(dice, a.level, 0.35), b, NOTHING))
    while len(scenes) < ways:
        scene = dice.choice([s for s in scenes if not s.also])  # those of a mixed class are not shared with another
        if scene.shape.kind != "none" and dice.random() < 0.5:
            scenes.append(replace(scene, shape=changed_shape(dice, scene.shape)))
        else:
            scenes.append(replace(scene, ground=changed_material(dice, scene.ground)))
    dice.shuffle(scenes)
    return scenes[:ways]
