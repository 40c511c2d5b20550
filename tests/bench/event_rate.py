"""What a steady stream of watch events costs: our whole way from bytes to reconcile, and the readers to compare it with.

python -m tests.bench.event_rate [--rate 2000] [--seconds 60]
"""

import argparse
from collections.abc import Sequence
from typing import Final

from tests.bench.figures import Figure
from tests.bench.stream_server_process import BenchmarkError, Run, measure_reader, print_figures, server

MEASURE: Final = "event-rate"
PODS: Final = 2000
BAR: Final = 40.0  # % of a core
BASELINES: Final = {
    "bare": "bare aiohttp client that decodes lines",
    "dicts": "kubernetes_asyncio Watch of custom objects",
    "models": "kubernetes_asyncio Watch of V1Pod",
    "kopf": "kopf event handler",
}


def measure(
    rate: float = 2000.0,
    seconds: float = 60.0,
    baseline_seconds: float = 10.0,
    pods: int = PODS,
    baselines: Sequence[str] = tuple(BASELINES),
) -> list[Figure]:
    """Run every reader by itself against one server; `bare` must be among the baselines.

    Raises BenchmarkError, also when ours falls behind the events.
    """
    with server(pods) as url:
        ours = measure_reader(url, "event_rate_reader", "--pods", str(pods), rate=rate, seconds=seconds)
        others = {
            name: measure_reader(url, "baselines_watch", name, str(pods), rate=rate, seconds=baseline_seconds)
            for name in baselines
        }
    if not ours.kept_up:
        raise BenchmarkError(
            f"the runtime handled {ours.handled} of {ours.sent} events: is the machine free?"
        )
    return [_cpu(ours, rate, seconds), _ratio(ours, others["bare"]), *_per_event(ours, others)]


def _cpu(ours: Run, rate: float, seconds: float) -> Figure:
    name = f"{rate:,.0f} watch events/s for {seconds:.0f} s: CPU of the runtime"
    details = {**ours.summary(), "reconciles": ours.report["reconciles"]}
    return Figure(MEASURE, name, ours.percent, "% of a core", BAR, details=details)


def _ratio(ours: Run, bare: Run) -> Figure:
    return Figure(
        MEASURE,
        "CPU of one event, from bytes to the end of its reconcile",
        ours.microseconds / bare.microseconds,
        "x",
        baseline=BASELINES["bare"],
    )


def _per_event(ours: Run, others: dict[str, Run]) -> list[Figure]:
    runs = {"the runtime": ours, **{BASELINES[name]: run for name, run in others.items()}}
    return [
        Figure(MEASURE, f"CPU of one event: {name}", run.microseconds, "µs", details=run.summary())
        for name, run in runs.items()
    ]


def main() -> None:
    """Print the figures as JSON lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--baseline-seconds", type=float, default=10.0)
    print_figures(measure(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
