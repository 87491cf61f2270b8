"""Panels of curves over a logarithmic axis, written as SVG."""

import math
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 150, 62, 62, 26, 56
TOTAL = 920  # width of the panels of a row with the gaps between them


@dataclass
class Curve:
    points: list[tuple[float, float, float]]  # x, y, half the height of the error bar
    colour: str
    dashed: bool = False


@dataclass
class Panel:
    title: str
    curves: list[Curve] = field(default_factory=list)


def text(x: float, y: float, words: str, anchor: str = "middle", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def draw_panel(panel: Panel, x0: float, y0: float, wide: float, ticks: tuple, low: float, first: bool) -> list[str]:
    begin, end = math.log(ticks[0]) - 0.25, math.log(ticks[-1]) + 0.25

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log(x) - begin) / (end - begin)
        return x0 + across * wide, y0 + (1 - (max(y, low) - low) / (1.0 - low)) * HEIGHT

    out = [text(x0 + wide / 2, y0 - 8, panel.title, extra='font-weight="bold"')]
    for i in range(round((1 - low) / 0.2) + 1):
        value = 1 - 0.2 * i
        y = at(ticks[0], value)[1]
        out.append(line(x0, y, x0 + wide, y, "#dddddd"))
        if first:
            out.append(text(x0 - 6, y + 4, f"{value:.1f}", "end"))
    out += [text(at(tick, low)[0], y0 + HEIGHT + 15, f"{tick:g}") for tick in ticks]
    for curve in panel.curves:
        for x, y, spread in curve.points:
            if spread:
                out.append(line(*at(x, min(y + spread, 1)), *at(x, y - spread), curve.colour, 0.8))
        places = [at(x, y) for x, y, _ in curve.points]
        dash = ' stroke-dasharray="5 3"' if curve.dashed else ""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        out.append(f'<path d="M{path}" stroke="{curve.colour}" stroke-width="1.8" fill="none"{dash}/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{curve.colour}"/>' for x, y in places]
    return out


def write(
    path: Path, panels: list[Panel], columns: int, ticks: tuple, low: float, axis: str, legend: dict[str, str]
) -> None:
    """`legend` maps names to colours; `ticks` are the marks of the logarithmic x axis."""
    rows = math.ceil(len(panels) / columns)
    wide = (TOTAL + GAP_X) / columns - GAP_X
    width, height = LEFT + TOTAL + 14, TOP + rows * (HEIGHT + GAP_Y) + 6
    out, x = [], float(LEFT)
    for name, colour in legend.items():
        out += [line(x, 20, x + 22, 20, colour, 2.5), text(x + 28, 24, name, "start")]
        x += 56 + 7.2 * len(name)
    for i, panel in enumerate(panels):
        x0, y0 = LEFT + i % columns * (wide + GAP_X), TOP + i // columns * (HEIGHT + GAP_Y)
        out += draw_panel(panel, x0, y0, wide, ticks, low, i % columns == 0)
    middle = TOP + (height - TOP - GAP_Y) / 2
    out.append(text(18, middle, "balanced accuracy", extra=f'transform="rotate(-90 18 {middle:.0f})"'))
    out.append(text(LEFT + TOTAL / 2, height - 12, axis))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head += ' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#222222">'
    path.write_text("\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *out, "</svg>"]) + "\n")
