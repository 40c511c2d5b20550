"""What a cache costs (pitfall 25)."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PODS = 20_000
BUDGET = 100.0  # MiB for the objects alone; kept whole, as dictionaries, they take several times as much


def test_twenty_thousand_pods_fit_into_their_budget() -> None:
    command = [sys.executable, "-m", "tests.faults.pod_cache", str(PODS)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured = json.loads(ended.stdout)
    assert measured["objects"] == PODS
    assert measured["after"] - measured["before"] <= BUDGET
