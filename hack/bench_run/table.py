"""The table of figures: as text for a terminal, and as Markdown for the documentation."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import Figure

HEADER: Final = ("measure", "what", "figure", "bar", "met", "compared with")
BEGIN: Final = "<!-- figures: written by hack/bench -->"
END: Final = "<!-- /figures -->"


def text(figures: Iterable[Figure]) -> str:
    """Return a table for a terminal."""
    rows = [HEADER, *map(_row, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]
        ).rstrip()
        for row in rows
    )


def markdown(figures: Sequence[Figure], entries: dict[str, Any]) -> str:
    """Return two tables, first the figures that have bars, then those to compare with, and where they are from."""
    barred = [figure for figure in figures if figure.bar is not None]
    others = [figure for figure in figures if figure.bar is None]
    return "\n".join(
        [
            _markdown(HEADER, map(_row, barred)),
            "",
            "Measured beside them:",
            "",
            _markdown((*HEADER[:3], HEADER[5]), ((*_row(figure)[:3], _row(figure)[5]) for figure in others)),
            "",
            *_origins(entries),
        ]
    )


def write(page: Path, content: str) -> None:
    """Put the content between the markers of a page; the prose around it stays."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{content}\n{END}{after}")


def _row(figure: Figure) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    bar = "" if figure.bar is None else f"≤ {_number(figure.bar)} {figure.unit}".rstrip()
    value = f"{_number(figure.value)} {figure.unit}".rstrip()
    return figure.measure, figure.name, value, bar, met, figure.baseline


def _number(value: float) -> str:
    """Three digits are as many as a measurement has."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _origins(entries: dict[str, Any]) -> list[str]:
    """One line for each set of measures that come from one commit and one machine."""
    origins: dict[str, list[str]] = {}
    for name, entry in entries.items():
        machine = entry["machine"]
        where = (
            f"{entry['date'][:10]}, commit {entry['commit']}: {machine['cores']} cores ({machine['cpu']}), "
            f"{machine['memoryGiB']} GiB, Python {machine['python']}, Kubernetes {machine['kubernetes']}"
        )
        origins.setdefault(where, []).append(name)
    return [f"- {where}: {', '.join(names)}" for where, names in origins.items()]
