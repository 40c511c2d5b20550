"""What was measured, kept as JSON: the newest figures of each measure, so that measures can be run one by one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.bench.figures import Figure
from tests.bench.measures import MEASURES


@frozen
class Results:
    """The file of results."""

    path: Path

    def read(self) -> dict[str, Any]:
        """Return everything, by the measures' names."""
        if not self.path.exists():
            return {}
        stored: dict[str, Any] = json.loads(self.path.read_text())
        return stored

    def merge(self, measure: str, about: dict[str, Any], figures: list[dict[str, Any]]) -> None:
        """Put the figures of one measure in the place of its former ones."""
        stored = {**self.read(), measure: {**about, "figures": figures}}
        ordered = {known.name: stored[known.name] for known in MEASURES if known.name in stored}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")

    def figures(self) -> Iterator[Figure]:
        """Yield all figures, in the order of the suite."""
        for entry in self.read().values():
            for figure in entry["figures"]:
                yield Figure(**figure)
