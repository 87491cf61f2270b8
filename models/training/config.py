"""The choices of a training run: a TOML file, every key of it wanted and none unknown, stored whole in the weights.

The sections are the dataclasses below; what draw.py, model.py and train.py do with a value is said there.
"""
from __future__ import annotations

import tomllib
import typing
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path

DEFAULT = Path(__file__).resolve().parent / "default.toml"


class ConfigError(ValueError):
    """The message names the file's key."""


@dataclass(frozen=True)
class Run:
    seed: int
    steps: int
    start: str  # "nothing", or the SHA-256 of the weights that training starts from
    validation_episodes: int  # drawn from a seed of their own, never trained on; 0: no validation


@dataclass(frozen=True)
class Episode:
    images: int
    ways: int  # classes of an image
    samples: int  # chips of a class
    input_sizes: tuple[int, ...]  # to which chips are scaled; one of them a step, one that stands twice twice as often


@dataclass(frozen=True)
class Network:
    """A ResNet of BasicBlocks for one grey channel, and the vector made of its stages. What comes after the last pooled
    stage is not built."""

    input_size: int  # which the weights name as theirs
    mean: float  # of the input, with which it is normalised
    std: float
    stem: int  # channels
    stem_kernel: int
    widths: tuple[int, ...]  # of each stage
    depths: tuple[int, ...]  # blocks
    pool_stages: tuple[int, ...]  # 0 is the chip itself, beside others
    chip_copies: tuple[int, int]  # of stage 0's mean and contrast in the vector


@dataclass(frozen=True)
class Objective:
    """Weights of the three questions of train.py, and the temperatures they start with."""

    all_last: float
    all_pooled: float
    within_pooled: float
    first_scales: tuple[float, float, float]


@dataclass(frozen=True)
class Optimiser:
    peak_rate: float
    last_rate: float
    warm_up: int  # steps, of each cycle
    cycles: int  # of the cosine, of equal length; the weights at the end of each are kept
    momentum: float
    weight_decay: float
    average: float  # how much of the weights' exponential average a step keeps; the average is what is written


@dataclass(frozen=True)
class World:
    """Shares, and ranges (low, high). Where shares stand in a table its order counts: the same seed draws the same
    chips only if it stays."""

    chip_sizes: tuple[int, ...]  # native pixels a side; a size that stands twice is drawn twice as often
    margin: float  # drawn beyond each side of a chip, as a share of it
    neighbours_share: float  # of chips beside which another of the image is seen
    neighbour_distance: tuple[float, float]  # of its edge from the chip's centre, as a share of the chip's side
    edge_share: float  # of chips at an edge of their image
    uneven: tuple[float, ...]  # how much the ground under objects differs from chip to chip
    columns: tuple[float, ...]  # shares of 1, 2, 3, ... columns in a basis
    pitch: tuple[float, float]  # of lattices, pixels
    wedge_share: float  # of images of crystals that thin towards an edge
    traces_share: float  # of images of damage whose clean chips have faint traces of it
    contours_share: float  # of images with bend contours
    mottle_share: float  # of images of damage whose ground wanders within each chip, clean or not
    mottle: tuple[float, float]  # the deviation of that, as a share of the damage's depth
    blur_share: float
    blur: tuple[float, float]  # standard deviation in pixels
    jitter_share: float
    jitter: tuple[float, float]  # of rows, pixels
    dose: tuple[float, float]  # counts per pixel at intensity one
    read_noise_share: float
    read_noise: tuple[float, float]
    correlated_share: float  # of the read noise
    lines_share: float
    lines: tuple[float, float]
    smoothed_share: float  # of images whose noise is smoothed too
    smoothed: tuple[float, float]  # standard deviation in pixels
    display_share: float
    display: tuple[float, float]  # exponent
    bright_field_share: float
    percentiles: tuple[float, float]  # of the whole image, as the service stretches it
    unseen_share: float  # of images with parts darker or brighter than all classes
    unrelated_share: float  # of images whose classes have nothing in common: easy negatives, to measure the hard ones
    topics: dict[str, float]  # what tells the classes of an image apart
    lattices: dict[str, float]
    profiles: dict[str, float]  # of objects


@dataclass(frozen=True)
class Config:
    name: str
    run: Run
    episode: Episode
    network: Network
    objective: Objective
    optimiser: Optimiser
    world: World

    def as_dict(self) -> dict:
        """Of JSON's types, in the file's words."""
        return listed(asdict(self))


def listed(value: object) -> object:
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def number(kind: type, value: object, key: str) -> float | int:
    wanted = (int, float) if kind is float else int
    if isinstance(value, bool) or not isinstance(value, wanted) or not 0 <= value < 2**62:
        raise ConfigError(f"{key} must be {'a number' if kind is float else 'an integer'}, not negative: {value!r}")
    return kind(value)


def parse(kind: object, value: object, key: str) -> object:
    """The value of a key as its dataclass wants it."""
    if is_dataclass(kind):
        return parse_section(kind, value, key)
    if kind is str:
        if not isinstance(value, str) or not 0 < len(value) <= 64:
            raise ConfigError(f"{key} must be a text of 1 to 64 characters")
        return value
    if kind in (int, float):
        return number(kind, value, key)
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        if not isinstance(value, dict) or not value:
            raise ConfigError(f"{key} must be a table of shares")
        return {name: number(float, share, f"{key}.{name}") for name, share in value.items()}
    if not isinstance(value, list) or not value or (inner[-1] is not ... and len(value) != len(inner)):
        raise ConfigError(f"{key} must be a list of {'one or more' if inner[-1] is ... else len(inner)} numbers")
    return tuple(number(inner[0], item, f"{key}[{i}]") for i, item in enumerate(value))


def parse_section(kind: type, table: object, key: str) -> object:
    if not isinstance(table, dict):
        raise ConfigError(f"{key} must be a section")
    hints, names = typing.get_type_hints(kind), [field.name for field in fields(kind)]
    prefix = f"{key}." if key else ""
    for name in table:
        if name not in names:
            raise ConfigError(f"{prefix}{name} is unknown here; known: {', '.join(names)}")
    for name in names:
        if name not in table:
            raise ConfigError(f"{prefix}{name} is missing")
    return kind(**{name: parse(hints[name], table[name], prefix + name) for name in names})


def check(config: Config) -> None:
    """What the types do not say."""
    network, world = config.network, config.world
    for key, good in {
        "run.steps must be at least 1": config.run.steps >= 1,
        "episode.images must be at least 1": config.episode.images >= 1,
        "episode.ways must be at least 2": config.episode.ways >= 2,
        "episode.samples must be at least 2": config.episode.samples >= 2,
        "episode.input_sizes must be in 16..512": all(16 <= size <= 512 for size in config.episode.input_sizes),
        'run.start must be "nothing" or a SHA-256 in small hexadecimal digits': config.run.start == "nothing"
        or (len(config.run.start) == 64 and set(config.run.start) <= set("0123456789abcdef")),
        "optimiser.cycles must be in 1..run.steps": 1 <= config.optimiser.cycles <= config.run.steps,
        "network.input_size must be in 16..512, as the engine wants it": 16 <= network.input_size <= 512,
        "network.std must be above 0": network.std > 0,
        "network.stem_kernel must be odd": network.stem_kernel % 2 == 1,
        "network.widths must have one to four entries, above 1 (a map of one channel is the chip itself)":
        len(network.widths) <= 4 and min(network.widths) > 1,
        "network.depths must have as many entries as network.widths, above 0": len(network.depths) == len(network.widths)
        and min(network.depths) > 0,
        "network.pool_stages must rise within 0..4, hold one of 1..4 and none that network.widths lacks":
        list(network.pool_stages) == sorted(set(network.pool_stages) & {0, 1, 2, 3, 4})
        and 0 < network.pool_stages[-1] <= len(network.widths),
        "network.chip_copies must be in 1..256": all(1 <= n <= 256 for n in network.chip_copies),
        "world.lattices must be of square, hexagonal, rectangular, oblique": set(world.lattices)
        <= {"square", "hexagonal", "rectangular", "oblique"},
        "world.topics must be of those that draw.py knows": set(world.topics)
        <= {"crystals", "interface", "boundary", "objects", "atoms", "point", "extended", "damage", "microstructure",
            "textures"},
        "world.profiles must be two or more of disc, sphere, spot, ring, lobes, arcs, fringed": len(world.profiles) > 1
        and set(world.profiles) <= {"disc", "sphere", "spot", "ring", "lobes", "arcs", "fringed"},
        "world.chip_sizes must be at least 16": min(world.chip_sizes) >= 16,
        "world.margin must be in 0..0.5 and whole pixels of every chip and input size": world.margin <= 0.5
        and all((world.margin * size).is_integer() for size in world.chip_sizes + config.episode.input_sizes),
        "optimiser.average must be below 1": config.optimiser.average < 1,
    }.items():
        if not good:
            raise ConfigError(key)


def override(table: dict, setting: str) -> None:
    """Applies KEY=VALUE, the value in TOML's notation: network.input_size=96, network.widths=[48, 96, 192, 384]."""
    try:
        (path, value), = flat(tomllib.loads(setting)).items()
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise ConfigError(f"--set {setting}: not one KEY=VALUE in TOML's notation") from error
    *sections, last = path
    for section in sections:
        table = table.get(section, {})
    if not isinstance(table, dict) or last not in table:
        raise ConfigError(f"--set {setting}: the config has no {'.'.join(path)}")
    table[last] = value


def flat(table: dict, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    found: dict[tuple[str, ...], object] = {}
    for key, value in table.items():
        found |= flat(value, path + (key,)) if isinstance(value, dict) else {path + (key,): value}
    return found


def load(path: Path, settings: list[str] | None = None) -> Config:
    """Raises ConfigError or OSError."""
    try:
        table = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from error
    for setting in settings or []:
        override(table, setting)
    config = typing.cast(Config, parse_section(Config, table, ""))
    check(config)
    return config
