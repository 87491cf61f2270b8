"""A drawn world of electron micrographs. No photograph enters it.

An episode is a handful of imaginary images, each with its own magnification, dose, scan and detector; what they show
is said by scenes.py. A chip is a ground material, a figure material, and a shape that says where the figure lies:

    value = (1 - shape) * ground + shape * figure    or, where thicknesses add up,    ground + shape * figure
    or, where planes bend and scatter more or less,    ground * (1 + shade * shape)

Materials are flat, a random texture (amorphous film, speckle, two-phase structures), or a crystal. Units: native
pixels for lengths, 0..1 for intensities, radians for angles.

Sources. Image formation: HAADF intensity is nearly incoherent, a sum of columns of weight about Z^1.7 blurred by the
probe (Pennycook & Jesson 1991; Kirkland 2020), hence Gaussians on lattice sites. Dislocations and faults: the phase
picture of a displaced lattice (Hirsch et al. 1977). Detector: Poisson counts, Gaussian read noise, correlated noise
of scintillators and scan lines (Jones & Nellist 2013 for scan distortion). Gamma-prime precipitates: superellipses
on a disturbed lattice, between cube and sphere as misfit and ageing decide (Reed 2006). Radiation damage by diffraction
contrast, its lines dotted where they run through the foil at an angle, small loops as two lobes or two arcs, cavities
with a Fresnel fringe: Hirsch et al. 1977, Williams & Carter 2009, Jenkins & Kirk 2001.
"""
from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from config import Episode, World
from scenes import Crystal, Dice, Material, Scene, Shape, Texture, log_uniform, some_image

CELL = 32  # samples along each edge of the tabulated unit cell


@dataclass(frozen=True)
class Field:
    """A chip and what is drawn around it, about one centre. Sizes and places are those of the chip."""

    chip: int
    side: int


def field_of(chip: int, margin: float) -> Field:
    """`margin` is a share of the chip's side, drawn beyond each of its sides."""
    return Field(chip, chip + 2 * round(margin * chip))


def inner(fields: Tensor, side: int) -> Tensor:
    """The chips of this side in the middle of fields (..., height, width)."""
    margin = (fields.shape[-1] - side) // 2
    return fields[..., margin : margin + side, margin : margin + side]


def uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return torch.rand(shape) * (high - low) + low


def axes(field: Field) -> tuple[Tensor, Tensor]:
    """Pixel coordinates from the chip's centre: x along rows (1, 1, n) and y (1, n, 1)."""
    r = torch.arange(field.side, dtype=torch.float32) - (field.side - 1) / 2
    return r[None, None, :], r[None, :, None]


def per_chip(n: int, low: float, high: float) -> Tensor:
    return uniform((n, 1, 1), low, high)


def draw_crystal(c: Crystal, n: int, field: Field) -> Tensor:
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
    x, y = axes(field)
    u = (x * torch.cos(spin) + y * torch.sin(spin)) * strain
    v = (-x * torch.sin(spin) + y * torch.cos(spin)) * strain + skew * u
    fy = v / by
    fx = (u - fy * bx) / ax
    start_x, start_y = per_chip(n, 0, 1), per_chip(n, 0, 1)
    fx, fy = fx + start_x, fy + start_y

    if c.defect in ("dislocation", "fault"):
        px, py = per_chip(n, -0.25, 0.25) * field.chip, per_chip(n, -0.25, 0.25) * field.chip
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
        want_x = ((per_chip(n, -0.2, 0.2) * field.chip) / ax + start_x).round() - start_x
        want_y = ((per_chip(n, -0.2, 0.2) * field.chip) / by + start_y).round() - start_y
        du, dv = u - (want_x * ax + want_y * bx), v - want_y * by
        image = image + c.strength * torch.exp(-(du**2 + dv**2) / (2 * (1.2 * c.probe) ** 2))
    return image


def random_normal(n: int) -> Tensor:
    return torch.randn(n, 1, 1)


def coloured(t: Texture, n: int, field: Field) -> Tensor:
    """Gaussian noise with the texture's spectrum, of unit variance."""
    side = field.side
    fx, fy = torch.fft.rfftfreq(side)[None, None, :], torch.fft.fftfreq(side)[None, :, None]
    turn = t.turn + 0.06 * random_normal(n)
    u, v = fx * torch.cos(turn) + fy * torch.sin(turn), -fx * torch.sin(turn) + fy * torch.cos(turn)
    square = u**2 * (1 + 8 * t.stretch**2) + v**2 * (1 - 0.9 * t.stretch) + (0.3 / field.chip) ** 2
    if t.centre:
        gain = torch.exp(-((0.5 * square.log() - math.log(t.centre)) ** 2) / (2 * t.width**2))
    else:
        gain = torch.exp(-0.5 * t.slope * square.log())
    # White noise is white in its spectrum too, where it may be drawn at once. Columns that are their own mirror image
    # lose half of it on the way back, which takes the real part.
    gain[:, :, 0] *= math.sqrt(2)
    if side % 2 == 0:
        gain[:, :, -1] *= math.sqrt(2)
    white = torch.randn(n, side, side // 2 + 1, dtype=torch.complex64)
    noise = torch.fft.irfft(torch.fft.ifft(white.mul_(gain), dim=1), n=side)
    apart = noise - noise.mean((1, 2), keepdim=True)
    return noise / ((apart * apart).mean((1, 2), keepdim=True).sqrt() + 1e-9)


def wandering(frequency: float, n: int, field: Field, stretch: float = 0.0, turn: float = 0.0) -> Tensor:
    """A smooth random field about one frequency, in cycles per pixel. Of twice the chip's side, of which a part is
    kept: the whole is periodic."""
    twice = 2 * field.chip
    whole = coloured(Texture(0.0, frequency, 0.5, stretch, turn, 1.0), n, Field(twice, twice))
    return whole[:, : field.side, : field.side]


def draw_material(m: Material, n: int, field: Field) -> Tensor:
    # Mass thickness differs a little from place to place.
    x, y = axes(field)
    bend = 1 + m.uneven / field.chip * (x * random_normal(n) + y * random_normal(n))
    level = (m.level * (1 + m.uneven * random_normal(n)) * bend).clamp(min=0)
    if m.uneven > 0.1:  # a holey or lacey support, a wedge: some chips lie at its edge or beyond
        turn, wide = per_chip(n, 0, 2 * math.pi), per_chip(n, 1.0, field.chip / 3)
        across = x * torch.cos(turn) + y * torch.sin(turn) - per_chip(n, -0.8, 0.8) * field.chip
        lost = (1 - per_chip(n, 0, 0.6)) * (per_chip(n, 0, 1) < 0.2)
        level = level * (1 - lost * torch.sigmoid(across / wide))
    contrast = m.contrast * (1 + 0.12 * random_normal(n))
    if m.fading:
        lost = m.fading * per_chip(n, 0, 1)
        level, contrast = level * (1 - lost), contrast * (1 - 0.5 * lost)
    if isinstance(m.pattern, Crystal):
        pattern = draw_crystal(m.pattern, n, field)
    elif isinstance(m.pattern, Texture):
        pattern = torch.sigmoid(m.pattern.hardness * coloured(m.pattern, n, field))
    else:
        return level
    return pattern.mul_(2 * contrast).add_(1 - contrast).mul_(level)


def superellipse(u: Tensor, v: Tensor, power: float) -> Tensor:
    if power == 2.0:
        return torch.sqrt(u**2 + v**2 + 1e-6)
    # By logarithms, which are quicker than powers.
    whole = torch.exp(power * torch.log(u.abs() + 1e-3)) + torch.exp(power * torch.log(v.abs() + 1e-3))
    return torch.exp(torch.log(whole) / power)


def draw_objects(s: Shape, n: int, field: Field) -> Tensor:
    x, y = axes(field)
    whole = torch.zeros(n, field.side, field.side)
    for number in range(s.count):
        # The first has its middle inside, since a chip is labelled by what it shows; some of the others may be missing.
        reach = 0.4 if number == 0 else 0.5
        turn = s.turn + 0.1 * random_normal(n) if s.aligned else per_chip(n, 0, math.pi)
        dx, dy = x - per_chip(n, -reach, reach) * field.chip, y - per_chip(n, -reach, reach) * field.chip
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
        elif s.profile == "arcs":
            # A loop is invisible where its planes bend along the beam's own: two arcs are left of the ring.
            one = torch.exp(-(((rho - 1) * radius / max(s.soft, 0.15 * s.size)) ** 2)) * u.abs() / rho
        elif s.profile == "fringed":
            # A cavity out of focus: what is missing, and a fringe of the other sign around it.
            fringe = torch.exp(-(((rho - 1.1) * radius / max(s.soft, 0.12 * s.size)) ** 2))
            one = torch.sigmoid((1 - rho) * radius / s.soft) - 1.2 * fringe
        else:
            # Strain contrast of a small loop: a bright and a dark lobe along its Burgers vector.
            one = 1.6 * u * torch.exp(-(rho**2) / 2)
        if number:
            one = one * (per_chip(n, 0, 1) < 0.75)
        if s.profile in ("fringed", "lobes"):  # of both signs
            whole = torch.where(one.abs() > whole.abs(), one, whole)
        else:
            whole = torch.maximum(one, whole)
    return whole


def draw_patches(s: Shape, n: int, field: Field) -> Tensor:
    """Where a smooth random field is highest, of about the share `fill` of each chip."""
    height = wandering(0.25 / s.size, n, field, 1 - 1 / s.stretch, s.turn)
    fill = (s.fill * torch.exp(0.4 * random_normal(n))).clamp(0.03, 0.9)
    ranked = inner(height, field.chip)[:, ::2, ::2].flatten(1).sort(1, descending=True).values
    place = (fill[:, :, 0] * (ranked.shape[1] - 1)).long()
    level = ranked.gather(1, place)[:, :, None]
    return torch.sigmoid((height - level) / s.soft) * per_chip(n, 0.5, 1.0)


def draw_lines(s: Shape, n: int, field: Field) -> Tensor:
    """Dislocations seen by their strain: bent lines, some that end, dotted where they run through the foil."""
    x, y = axes(field)
    whole = torch.zeros(n, field.side, field.side)
    for number in range(s.count):
        turn = s.turn + 0.15 * random_normal(n) if s.aligned else per_chip(n, 0, 2 * math.pi)
        reach = 0.3 if number == 0 else 0.6
        along = x * torch.cos(turn) + y * torch.sin(turn)
        bow = 0.25 * random_normal(n) * along**2 / field.chip
        across = -x * torch.sin(turn) + y * torch.cos(turn) + bow - per_chip(n, -reach, reach) * field.chip
        width = s.size * torch.exp(0.15 * random_normal(n))
        period, start = width * per_chip(n, 3.0, 8.0), per_chip(n, 0, 2 * math.pi)
        dots = 1 - s.waves * 0.5 * (1 + torch.cos(2 * math.pi * along / period + start))
        end = torch.sigmoid(along - per_chip(n, -1.5, 0.1) * field.chip)
        whole = torch.maximum(whole, torch.exp(-((across / width) ** 2)) * dots * end)
    return whole


def draw_shape(s: Shape, n: int, field: Field) -> Tensor:
    drawings = {"objects": draw_objects, "patches": draw_patches, "lines": draw_lines}
    if s.kind in drawings:
        return drawings[s.kind](s, n, field)
    x, y = axes(field)
    turn = s.turn + 0.08 * random_normal(n) if s.aligned else per_chip(n, 0, 2 * math.pi)
    if s.kind in ("half", "stripe"):
        across = x * torch.cos(turn) + y * torch.sin(turn) - per_chip(n, -0.25, 0.25) * field.chip
        if s.kind == "half":
            return torch.sigmoid(across / s.soft)
        return torch.exp(-((across / s.size) ** 2))
    if s.kind == "array":
        u = (x * torch.cos(turn) + y * torch.sin(turn)) / s.size + per_chip(n, 0, 1)
        v = (-x * torch.sin(turn) + y * torch.cos(turn)) / s.size * s.stretch + per_chip(n, 0, 1)
        wander = Texture(0.0, min(0.4, 0.6 / s.size), 0.5, 0.0, 0.0, 1.0)
        u, v = u + 0.1 * coloured(wander, n, field), v + 0.1 * coloured(wander, n, field)
        rho = superellipse(u - u.round(), v - v.round(), s.power)
        return torch.sigmoid((s.fill - rho) / max(s.soft, 0.5 / s.size))
    count = max(2, min(24, round((1.5 * field.chip / s.size) ** 2)))
    best, whole = torch.full((n, field.side, field.side), math.inf), torch.zeros(n, field.side, field.side)
    for _ in range(count):
        d = (x - per_chip(n, -0.75, 0.75) * field.chip) ** 2 + (y - per_chip(n, -0.75, 0.75) * field.chip) ** 2
        nearer = d < best
        whole, best = torch.where(nearer, per_chip(n, 0, 1), whole), torch.where(nearer, d, best)
    return whole


def draw_scene(scene: Scene, n: int, field: Field) -> Tensor:
    if scene.also:
        kinds = (replace(scene, also=()), *scene.also)[:n]
        fields = torch.empty(n, field.side, field.side)
        for i, kind in enumerate(kinds):
            shown = fields[i :: len(kinds)]
            shown.copy_(draw_scene(kind, len(shown), field))
        return fields
    ground = draw_material(scene.ground, n, field)
    if scene.mottle:
        mottle = wandering(scene.mottle_frequency, n, field)
        ground = ground * (1 + scene.mottle * per_chip(n, 0.3, 1.7) * mottle).clamp(min=0.02)
    if scene.shape.kind == "none":
        return ground
    shape = draw_shape(scene.shape, n, field)
    if any(scene.shade):
        return ground * (1 + per_chip(n, *scene.shade) * shape).clamp(min=0.02)
    figure = draw_material(scene.figure, n, field)
    return ground + shape * (figure if scene.added else figure - ground)


def blurred(image: Tensor, sigma: float) -> Tensor:
    reach = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-(torch.arange(-reach, reach + 1, device="cpu") ** 2) / (2 * sigma**2))
    taps = (taps / taps.sum()).tolist()
    side = image.shape[-1]
    # Shifted sums: for one channel several times as fast as the library's convolution.
    padded = F.pad(image[:, None], (reach,) * 4, mode="reflect")[:, 0]
    rows = taps[0] * padded[:, :, :side]
    for i, tap in enumerate(taps[1:], start=1):
        rows.add_(padded[:, :, i : i + side], alpha=tap)
    whole = taps[0] * rows[:, :side]
    for i, tap in enumerate(taps[1:], start=1):
        whole.add_(rows[:, i : i + side], alpha=tap)
    return whole


def surrounded(dice: Dice, fields: Tensor, field: Field) -> Tensor:
    """Beyond a soft straight edge some chips see another of the image, of whatever class, brought nearer by half a
    chip: what is drawn of a chip lies about its middle."""
    world = dice.world
    seeing = [i for i in range(len(fields)) if dice.random() < world.neighbours_share]
    if not seeing:
        return fields
    x, y = axes(field)
    turns = [dice.uniform(0, 2 * math.pi) for _ in seeing]
    others = []
    for turn in turns:
        nearer = round(math.sin(turn) * field.chip / 2), round(math.cos(turn) * field.chip / 2)
        others.append(torch.roll(fields[dice.randrange(len(fields))], nearer, (0, 1)))
    turn = torch.tensor(turns)[:, None, None]
    far = per_chip(len(seeing), *world.neighbour_distance) * field.chip
    soft = per_chip(len(seeing), 0.5, field.chip / 12)
    share = torch.sigmoid((x * torch.cos(turn) + y * torch.sin(turn) - far) / soft)
    own = torch.tensor(seeing)
    return fields.index_copy(0, own, torch.lerp(fields[own], torch.stack(others), share))


def mirrored(dice: Dice, fields: Tensor, field: Field) -> Tensor:
    """Some chips lie at an edge or in a corner of their image, beyond which the service mirrors it."""
    side, margin = field.side, (field.side - field.chip) // 2
    index, at_edge = list(range(side)), []
    for number in range(len(fields)):
        if dice.random() >= dice.world.edge_share:
            continue
        lines = [index, index]
        sides = dice.choice(((0,), (1,), (0, 1)))
        for axis in sides:
            line = side - dice.randrange(margin + 1)  # the first pixel beyond the image
            seen = [min(i, 2 * line - 1 - i) for i in index]
            lines[axis] = seen if dice.random() < 0.5 else [side - 1 - i for i in reversed(seen)]
        at_edge.append((number, *lines))
    if not at_edge:
        return fields
    own, rows, columns = (torch.tensor(list(column)) for column in zip(*at_edge))
    return fields.index_copy(0, own, fields[own[:, None, None], rows[:, :, None], columns[:, None, :]])


def taken(dice: Dice, chips: Tensor, field: Field) -> Tensor:
    """What the microscope makes of the intensities of one image: probe, scan, dose, detector."""
    n, side, _ = chips.shape
    x, y = axes(field)
    chips = chips.clamp(min=0)
    slope = dice.choice((0.05, 0.15, 0.3)) / field.chip  # thickness and illumination vary across an image
    chips = chips * (1 + slope * (x * random_normal(n) + y * random_normal(n))).clamp(min=0.2)
    world = dice.world
    if dice.random() < world.contours_share:  # a bent foil: bands of it scatter more, whatever is asked
        turn, wide = per_chip(n, 0, math.pi), dice.uniform(0.4, 1.5) * field.chip
        across = x * torch.cos(turn) + y * torch.sin(turn) - per_chip(n, -2, 2) * field.chip
        chips = chips * (1 - per_chip(n, 0, dice.uniform(0.1, 0.6)) * torch.exp(-((across / wide) ** 2)))
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
    if dice.random() < world.smoothed_share:  # the scintillator's spread, a filter, or an image made smaller or larger
        chips = blurred(chips, log_uniform(dice, *world.smoothed))
    if dice.random() < world.display_share:  # the film or the display curve
        chips = chips.clamp(min=0) ** dice.uniform(*world.display)
    if dice.random() < world.bright_field_share:  # bright field: what scatters is dark
        chips = -chips
    return chips


def normalise(dice: Dice, fields: Tensor, field: Field, classes: int) -> Tensor:
    """Stretch to 0..1 between percentiles of the image, in which the classes have very unequal areas."""
    sample = inner(fields, field.chip).reshape(classes, -1)[:, ::29]
    count = sample.shape[1]
    shares = [max(0.02, dice.random() ** 2) for _ in range(classes)]
    seen = torch.cat([row[: max(8, int(count * share / max(shares)))] for row, share in zip(sample, shares)])
    low, high = torch.quantile(seen, torch.tensor(dice.world.percentiles) / 100)
    # Parts of the image that no class shows may be darker or brighter than all classes.
    if dice.random() < dice.world.unseen_share:
        spread = high - low
        low, high = low - dice.uniform(0, 0.4) * spread, high + dice.uniform(0, 0.6) * spread
    return ((fields - low) / (high - low + 1e-6)).clamp(0, 1)


def resized(fields: Tensor, side: int) -> Tensor:
    """To the encoder's input, as the service does it: bilinear, with a wider triangle when shrinking."""
    if fields.shape[-1] == side:
        return fields
    size = (side, side)
    return F.interpolate(fields[:, None], size, mode="bilinear", align_corners=False, antialias=True)[:, 0]


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
    """(images, ways, samples, side, side): chips of `ways` classes in each image, with what surrounds them: the chip
    is inner(fields, input_size). A function of its arguments only; other devices have other random numbers."""
    dice = Dice(seed * 1_000_003 + number)
    dice.world = world
    torch.manual_seed(dice.getrandbits(48))
    ways, samples, out = layout.ways, layout.samples, field_of(input_size, world.margin)
    drawn = []
    with placed(device):
        for _ in range(layout.images):
            field = field_of(dice.choice(world.chip_sizes), world.margin)
            fields = torch.cat([draw_scene(scene, samples, field) for scene in some_image(dice, ways, field.chip)])
            fields = taken(dice, surrounded(dice, fields, field), field)
            fields = resized(normalise(dice, fields, field, ways), out.side)
            drawn.append(mirrored(dice, fields, out).reshape(ways, samples, out.side, out.side))
        return torch.stack(drawn)
