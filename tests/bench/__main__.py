"""Runs one measure in the surroundings that it finds: hack/bench makes them, and calls this inside.

python -m tests.bench MEASURE FILE [KEY=VALUE…]
"""

import sys
from pathlib import Path
from typing import Any

import orjson
from attrs import asdict

from tests.bench.measures import MEASURES
from tests.bench.stream_server_process import BenchmarkError


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, orjson.loads(value)


def main(name: str, file: str, *settings: str) -> int:
    """Write the figures to a file as JSON. Exit status 1, and one line, when there are none."""
    (measure,) = (measure for measure in MEASURES if measure.name == name)
    try:
        figures = measure.run(**dict(map(_setting, settings)))
    except BenchmarkError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1
    Path(file).write_bytes(orjson.dumps([asdict(figure) for figure in figures]))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
