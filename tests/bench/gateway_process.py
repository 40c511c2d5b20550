"""The gateway with files of its own: `python -m tests.bench.gateway_process FOLDER UPSTREAM`. Its first line has its ports."""

import sys
from pathlib import Path

from gastown_operator.gateway.__main__ import main
from gastown_operator.gateway.control import Paths
from gastown_operator.gateway.settings import GatewaySettings

if __name__ == "__main__":
    folder, upstream = Path(sys.argv[1]), sys.argv[2]
    paths = Paths(folder, folder / "credentials", folder / "alive", folder / "termination-log")
    settings = GatewaySettings(
        "anthropic",
        upstream,
        "llm",
        "api-key",
        max_tokens=10**11,
        max_cost="1000000",
        requests_per_minute=1e6,
    )
    sys.exit(main(settings.environment(), paths, (0, 0)))
