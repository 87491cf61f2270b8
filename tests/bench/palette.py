"""How well the default colours of classes are told apart where they tint a micrograph.

Usage: palette.py            (python3 with numpy; make bench-palette)
       palette.py --choose   searches for colours and prints them as rows of engine/fewshot/map/palette.c, for when the
                             opacity or what is asked of them has changed

Each two colours of the first n are laid with an opacity of 0.4 over dark (grey 40) and bright ground (grey 210) and seen
by normal and by colour-blind eyes (protanopia, deuteranopia, tritanopia: the matrices for severity 1 of Machado,
Oliveira and Fernandes, IEEE TVCG 15, 2009). The distance is CIEDE2000 (Sharma, Wu and Dalal 2005) under D65; about 2 is
just seen side by side. Each colour must also be told from the bare ground.
"""
from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

GROUNDS = (40, 210)
OPACITY = 0.4
EYES = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}
BEFORE = ("e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")  # Okabe and Ito's, without black


def to_lab(rgb: np.ndarray, eye: np.ndarray) -> np.ndarray:
    value = np.asarray(rgb, float) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ eye.T, 0, 1)
    xyz = linear @ np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                             [0.0193339, 0.1191920, 0.9503041]]).T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def ciede2000(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    l1, a1, b1 = np.moveaxis(one, -1, 0)
    l2, a2, b2 = np.moveaxis(two, -1, 0)
    c = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(c**7 / (c**7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    dh = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    big_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh) / 2)
    lm, cm = (l1 + l2) / 2, (c1 + c2) / 2
    hm = np.where(grey, h1 + h2, np.where(np.abs(h1 - h2) <= 180, (h1 + h2) / 2,
                                          np.where(h1 + h2 < 360, (h1 + h2 + 360) / 2, (h1 + h2 - 360) / 2)))
    t = (1 - 0.17 * np.cos(np.radians(hm - 30)) + 0.24 * np.cos(np.radians(2 * hm))
         + 0.32 * np.cos(np.radians(3 * hm + 6)) - 0.20 * np.cos(np.radians(4 * hm - 63)))
    sl = 1 + 0.015 * (lm - 50)**2 / np.sqrt(20 + (lm - 50)**2)
    sc, sh = 1 + 0.045 * cm, 1 + 0.015 * cm * t
    rc = 2 * np.sqrt(cm**7 / (cm**7 + 25.0**7))
    rt = -np.sin(np.radians(60 * np.exp(-((hm - 275) / 25)**2))) * rc
    dl, dc, dhh = (l2 - l1) / sl, (c2 - c1) / sc, big_h / sh
    return np.sqrt(np.maximum(dl**2 + dc**2 + dhh**2 + rt * dc * dhh, 0))


def views(colors: np.ndarray, opacity: float = OPACITY) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of each eye and ground: its name, the tinted colours and the bare ground as Lab."""
    return [(f"{name} on {ground}", to_lab((1 - opacity) * ground + opacity * colors, eye),
             to_lab(np.full(3, float(ground)), eye)) for name, eye in EYES.items() for ground in GROUNDS]


def distances(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The worst over eyes and grounds: between each two colours, and of each from the bare ground."""
    seen = views(colors)
    return (np.min([ciede2000(lab[:, None], lab[None]) for _, lab, _ in seen], 0),
            np.min([ciede2000(lab, ground) for _, lab, ground in seen], 0))


def report(name: str, colors: np.ndarray) -> None:
    for n in (2, 3, 4, 5, 6, 7, 8, 12, 16):
        if n > len(colors):
            break
        between, ground = distances(colors[:n])
        between[np.diag_indices(n)] = np.inf
        i, j = np.unravel_index(np.argmin(between), between.shape)
        each = [f"{seen.split()[0][:6]} {min(ciede2000(lab[a], lab[b]) for a in range(n) for b in range(a)):.1f}"
                for seen, lab, _ in views(colors[:n]) if seen.endswith(str(GROUNDS[0]))]
        print(f"{name}, first {n}: worst pair {between[i, j]:.2f} (#{bytes(colors[i].astype(int).tolist()).hex()} and "
              f"#{bytes(colors[j].astype(int).tolist()).hex()}), from the ground {ground.min():.2f}; "
              f"on dark: {', '.join(each)}")


def from_hex(texts: tuple[str, ...] | list[str]) -> np.ndarray:
    return np.array([list(bytes.fromhex(text)) for text in texts], float)


# ---- the program's ----

def shipped() -> np.ndarray:
    table = (Path(__file__).parents[2] / "engine/fewshot/map/palette.c").read_text()
    return from_hex(["".join(c) for c in re.findall(r"\{0x(..), 0x(..), 0x(..)\}", table)])


# ---- choosing ----

def choose(n_first: int, n_all: int) -> list[str]:
    levels = np.array([0, 36, 73, 110, 146, 182, 219, 255], float)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    between, ground = distances(grid)
    solid = np.min([ciede2000(lab, to_lab(np.full(3, float(grey)), np.eye(3))) for _, lab, _ in views(grid, 1.0)[:1]
                    for grey in (0, *GROUNDS)], 0)  # contours and label maps
    # Not too dark for a contour on a dark micrograph; no greys, which are the unknown and the undecided.
    keep = (to_lab(grid, np.eye(3))[:, 0] > 30) & (ground > 7.0) & (solid > 22.0) & (np.ptp(grid, axis=1) >= 60)
    grid, between = grid[keep], between[np.ix_(keep, keep)]
    rng = np.random.default_rng(1)
    best, best_value = None, -1.0
    for _ in range(60):
        chosen = [int(rng.integers(len(grid)))]
        while len(chosen) < n_first:
            chosen.append(int(np.argmax(between[:, chosen].min(1))))
        value = -1.0
        while True:  # swap one as long as the worst pair gets better
            improved = False
            for at in range(n_first):
                rest = chosen[:at] + chosen[at + 1:]
                worst_rest = min(between[a, b] for a in rest for b in rest if a != b)
                score = np.minimum(between[:, rest].min(1), worst_rest)
                candidate = int(np.argmax(score + 1e-3 * between[:, rest].min(1)))
                if score[candidate] > score[chosen[at]] + 1e-9:
                    chosen[at] = candidate
                    improved = True
            pairs = between[np.ix_(chosen, chosen)] + np.diag(np.full(n_first, np.inf))
            value = pairs.min()
            if not improved:
                break
        if value > best_value:
            best, best_value = list(chosen), value
    assert best is not None
    # In an order in which each prefix is as far apart as it can be.
    order = max(((a, b) for a in best for b in best if a < b), key=lambda pair: between[pair])
    chosen = list(order)
    while len(chosen) < n_first:
        chosen.append(max(set(best) - set(chosen), key=lambda c: between[c, chosen].min()))
    while len(chosen) < n_all:
        chosen.append(int(np.argmax(between[:, chosen].min(1))))
    return [bytes(grid[c].astype(int).tolist()).hex() for c in chosen]


def main() -> int:
    if sys.argv[1:] == ["--choose"]:
        colors = choose(8, 64)
        for i in range(0, len(colors), 4):
            print("    " + " ".join(f"{{0x{c[:2]}, 0x{c[2:4]}, 0x{c[4:]}}}," for c in colors[i:i + 4]))
        report("chosen", from_hex(colors))
        return 0
    report("Okabe and Ito", from_hex(BEFORE))
    report("shipped", shipped())
    return 0


if __name__ == "__main__":
    sys.exit(main())
