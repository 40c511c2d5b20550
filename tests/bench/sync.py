"""How long a cache of many pods takes to fill, against a bare client that reads the same list; and whether the event loop turned meanwhile.

On a real API server (a cluster of the lab, without nodes), since how a list is served decides most of it. Readers alternate, each in a
process of its own; the figures are medians. The operator starts by a streamed list (KEP-3157), where the server has it.

    python -m tests.bench.sync [--pods 20000] [--rounds 3]
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Final

import anyio
import orjson

from gastown_operator.runtime.configuration import load_connection
from tests.bench.figures import Figure
from tests.bench.stream_server_process import BenchmarkError, print_figures
from tests.bench.sync_pods import fill
from tests.bench.sync_readers import READERS

MEASURE: Final = "sync"
BAR_RATIO: Final = 1.5
BAR_STALL: Final = 100.0  # ms
CLUSTER: Final = "bench2"
READ_SECONDS: Final = 120.0
_PROGRAM: Final = Path(__file__).resolve().parents[2] / "hack" / "cluster"
_BARE: Final = "bare aiohttp client: the same list in pages, decoded by orjson"

Readings = Mapping[str, Sequence[Mapping[str, float]]]


def measure(pods: int = 20_000, rounds: int = 3, cluster: str = CLUSTER) -> list[Figure]:
    """Make the cluster, fill it, read it in turns, and take it down. Raises BenchmarkError."""
    with _running(cluster):
        arguments = ["--inside", "--pods", str(pods), "--rounds", str(rounds)]
        lines = _run("exec", "--name", cluster, "--", sys.executable, "-m", "tests.bench.sync", *arguments)
    return figures(orjson.loads(lines.splitlines()[-1]))


def figures(readings: Readings) -> list[Figure]:
    """Return the figures of what the readers said."""
    seconds = {name: median(reading["seconds"] for reading in readings[name]) for name in READERS}
    pods = f"{readings['bare'][0]['objects']:,.0f} pods"
    details: dict[str, Any] = {"server": "kube-apiserver of the lab", "readings": dict(readings)}
    forms = {"streaming": "streamed list, the default", "paged": "paged list"}
    result = []
    for form, words in forms.items():
        bars = (BAR_RATIO, BAR_STALL) if form == "streaming" else (None, None)
        stall = max(reading["stall"] for reading in readings[form]) * 1e3
        ratio = seconds[form] / seconds["bare"]
        result += [
            Figure(MEASURE, f"sync of {pods} ({words})", ratio, "x", bars[0], _BARE, details),
            Figure(MEASURE, f"longest stall of the event loop meanwhile ({words})", stall, "ms", bars[1]),
            Figure(MEASURE, f"time to sync {pods} ({words})", seconds[form], "s"),
        ]
        details = {}
    return [*result, Figure(MEASURE, f"time to read {pods} ({_BARE})", seconds["bare"], "s")]


def read_in_turns(rounds: int, *url: str) -> dict[str, list[Any]]:
    """Let every reader read once in each round, each round in another order.

    The first round shows the server what is asked of it, and is not counted.
    """
    readings: dict[str, list[Any]] = {name: [] for name in READERS}
    for round_ in range(rounds + 1):
        for name in islice(cycle(READERS), round_ % len(READERS), round_ % len(READERS) + len(READERS)):
            reading = _read(name, *url)
            if round_:
                readings[name].append(reading)
    return readings


def _read(name: str, *url: str) -> Any:
    command = [sys.executable, "-m", "tests.bench.sync_readers", name, *url]
    try:
        ran = subprocess.run(command, stdout=subprocess.PIPE, timeout=READ_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"the reader {name} did not end within {READ_SECONDS:.0f} s") from error
    if ran.returncode != 0:
        raise BenchmarkError(f"the reader {name} ended with status {ran.returncode}")
    return orjson.loads(ran.stdout)


@contextmanager
def _running(cluster: str) -> Iterator[None]:
    _run("up", "--nodes", "none", "--name", cluster)
    try:
        yield
    finally:
        _run("down", "--name", cluster)


def _run(*arguments: str) -> bytes:
    """Run hack/cluster; return what it prints. Raises BenchmarkError."""
    ran = subprocess.run([str(_PROGRAM), *arguments], stdout=subprocess.PIPE, check=False)
    if ran.returncode != 0:
        raise BenchmarkError(f"hack/cluster {' '.join(arguments)} ended with status {ran.returncode}")
    return ran.stdout


async def _fill(pods: int) -> None:
    await fill(await load_connection(), pods)


def main() -> None:
    """Print the figures as JSON lines; inside of the cluster, the readings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--inside", action="store_true", help="the cluster is there, and we are in its network"
    )
    arguments = parser.parse_args()
    if not arguments.inside:
        print_figures(measure(arguments.pods, arguments.rounds))
        return
    started = time.monotonic()
    anyio.run(_fill, arguments.pods)
    print(f"{arguments.pods} pods after {time.monotonic() - started:.0f} s", file=sys.stderr)  # noqa: T201 - progress
    readings = read_in_turns(arguments.rounds)
    print(orjson.dumps(readings).decode())  # noqa: T201 - `measure` reads this


if __name__ == "__main__":
    main()
