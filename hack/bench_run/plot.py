"""The curve as a picture: plain SVG, two panels over the number of polecats, with a dashed line for what would be linear."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

WIDTH: Final = 420
HEIGHT: Final = 300
LEFT: Final = 50
BOTTOM: Final = 40
TOP: Final = 36
RIGHT: Final = 24
COLOURS: Final = {"operator": "#1f6feb", "bare client": "#8b949e"}

Points = Sequence[tuple[float, float]]


@frozen
class Panel:
    """One diagram: a title, and a line of points for each name."""

    title: str
    lines: Mapping[str, Points]

    def draw(self) -> str:
        """Return its SVG elements."""
        parts = [f'<text class="title" x="{LEFT}" y="20">{self.title}</text>', *self._axes()]
        for number, (name, points) in enumerate(self.lines.items()):
            colour = COLOURS[name]
            parts.append(_line(map(self._place, points), f'stroke="{colour}"'))
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                for x, y in map(self._place, points)
            ]
            parts.append(
                f'<text x="{LEFT + 12}" y="{TOP + 16 + 16 * number}" style="fill: {colour}">{name}</text>'
            )
        slope = self.lines["operator"][0][1] / self.lines["operator"][0][0]
        linear = [(0.0, 0.0), (self._most[0], slope * self._most[0])]
        if linear[1][1] > self._most[1]:
            linear[1] = (self._most[1] / slope, self._most[1])
        parts.append(_line(map(self._place, linear), 'stroke="#1f6feb" stroke-dasharray="3 4"'))
        return "\n".join(parts)

    @property
    def _most(self) -> tuple[float, float]:
        """The corner of the diagram: the largest values, with room above."""
        points = [point for line in self.lines.values() for point in line]
        return max(x for x, _ in points), max(y for _, y in points) * 1.1

    def _place(self, point: tuple[float, float]) -> tuple[float, float]:
        x, y = (value / most for value, most in zip(point, self._most, strict=True))
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP)

    def _axes(self) -> list[str]:
        corner = [(0.0, self._most[1]), (0.0, 0.0), (self._most[0], 0.0)]
        parts = [_line(map(self._place, corner), 'stroke="#8b949e"')]
        for value, _ in self.lines["operator"]:
            x, y = self._place((value, 0.0))
            parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{value:,.0f}</text>')
        for value in _ticks(self._most[1]):
            x, y = self._place((0.0, value))
            parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        return parts


def draw(figures: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write the picture of a curve's figures."""
    sizes = [figure["details"] for figure in figures if "polecats" in figure["details"]]
    panels = [
        Panel("created → all Working, in s", _lines(sizes, ("operator", "seconds"), ("bare", "seconds"))),
        Panel("CPU, in s", _lines(sizes, ("operator", "operator_cpu"), ("bare", "cpu"))),
    ]
    file.write_text(_page([panel.draw() for panel in panels]))


def _lines(sizes: Sequence[Mapping[str, Any]], *paths: tuple[str, str]) -> dict[str, Points]:
    return {
        name: [(at["polecats"], at[who][what]) for at in sizes]
        for name, (who, what) in zip(COLOURS, paths, strict=True)
    }


def _ticks(most: float) -> list[float]:
    """About five round numbers."""
    step = next(
        factor * 10.0**power
        for power in range(-3, 6)
        for factor in (1, 2, 5)
        if most / (factor * 10.0**power) <= 6
    )
    return [step * number for number in range(int(most / step) + 1)]


def _line(points: "map[tuple[float, float]]", style: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke-width="1.5" {style}/>'


def _page(panels: Sequence[str]) -> str:
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}">',
        "<style>text { font: 12px sans-serif; fill: #57606a } .title { font-weight: bold }</style>",
        f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">\n{panel}\n</g>')
    return "\n".join([*parts, "</svg>\n"])
