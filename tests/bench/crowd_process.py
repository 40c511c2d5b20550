"""Runs a crowd in a process of its own, so that it shares no event loop and no interpreter with what it measures."""

import subprocess
import sys
from typing import Literal

import orjson

from tests.bench.crowd import Outcome
from tests.bench.fleet import Fleet
from tests.bench.stream_server_process import BenchmarkError

SECONDS_PER_POLECAT = 0.15
START_SECONDS = 60.0


def run_crowd(mode: Literal["user", "bare"], fleet: Fleet) -> Outcome:
    """Return what the crowd saw. Raises BenchmarkError when it does not get there in time."""
    command = [sys.executable, "-m", "tests.bench.crowd", mode]
    numbers = [str(number) for number in (fleet.rigs, fleet.per_rig, fleet.first)]
    limit = START_SECONDS + SECONDS_PER_POLECAT * fleet.size
    try:
        ran = subprocess.run([*command, *numbers], stdout=subprocess.PIPE, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{fleet.size:,} polecats were not at work within {limit:.0f} s") from None
    if ran.returncode:
        raise BenchmarkError(f"the {mode} client failed; what it said is above")
    return Outcome(**orjson.loads(ran.stdout))
