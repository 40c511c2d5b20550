"""The token server's command line: `python3 -m hack.token_server --help`."""

import argparse
import signal
import threading
from pathlib import Path

from hack.token_server.server import CLIENT_ID, TokenServer


def main() -> None:
    """Serve until a signal; the first line of standard output is the token endpoint."""
    parser = argparse.ArgumentParser(
        prog="python3 -m hack.token_server",
        description="Plays an OAuth token endpoint with single-use refresh tokens, and a model behind it, until SIGTERM or Ctrl-C. "
        f"The client id is {CLIENT_ID}.",
    )
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lifetime", type=float, default=600.0, help="seconds that an access token is good")
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="write a file here as Claude Code has it after a login",
    )
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with TokenServer(options.lifetime, options.address, options.port) as server:
        if options.credentials is not None:
            options.credentials.touch(mode=0o600)
            options.credentials.write_text(server.credentials_file())
        print(server.url, flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
