"""How long an event takes from the server's write to the first line of the reconcile that it woke.

The server notes CLOCK_MONOTONIC just before it writes each event to its socket; the reconciler of the polecat's kind looks the pod up
in the cache and notes the same clock as the first thing it does. In between: the kernel, aiohttp, decoding, projection, store and indexes,
mapping to the owner, the queue, the start of a worker's turn. No pod changes twice, so no two events are merged into one reconcile.

    python -m tests.bench.event_latency [--rate 500] [--seconds 20]
"""

import argparse
from collections.abc import Sequence
from statistics import quantiles
from typing import Final

from tests.bench.figures import Figure
from tests.bench.stream_server_process import BenchmarkError, Run, measure_reader, print_figures, server

MEASURE: Final = "event-latency"
BAR: Final = 25.0  # ms


def measure(rate: float = 500.0, seconds: float = 20.0) -> list[Figure]:
    """Send events of pods that each change once. Raises BenchmarkError if one of them was not seen by a reconcile."""
    pods = int(rate * seconds) + 1
    with server(pods) as url:
        run = measure_reader(
            url, "event_rate_reader", "--pods", str(pods), "--moments", rate=rate, seconds=seconds
        )
    milliseconds = delays(run)
    details = {
        **run.summary(),
        "max_ms": round(max(milliseconds), 2),
        "mean_ms": round(sum(milliseconds) / len(milliseconds), 2),
    }
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    name = f"event → reconcile start at {rate:,.0f} events/s"
    return [
        Figure(MEASURE, f"{name}, p50", cuts[49], "ms"),
        Figure(MEASURE, f"{name}, p99", cuts[98], "ms", BAR, details=details),
    ]


def delays(run: Run) -> Sequence[float]:
    """Return the milliseconds that each event took."""
    started: dict[int, int] = dict(run.report["moments"])
    versions = range(run.first_version, run.first_version + run.sent)
    lost = [version for version in versions if version not in started]
    if lost:
        raise BenchmarkError(
            f"{len(lost)} of {run.sent} events were not seen by a reconcile, first {lost[0]}"
        )
    return [(started[version] - sent) / 1e6 for version, sent in zip(versions, run.moments, strict=True)]


def main() -> None:
    """Print the figures as JSON lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    print_figures(measure(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
