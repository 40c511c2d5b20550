"""The model server's command line: `python3 -m hack.model_server --help`."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from hack.model_server.script import ScriptError, load_script
from hack.model_server.server import ModelServer


def address(text: str) -> tuple[str, int]:
    """Return the host and the port of `HOST:PORT`."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m hack.model_server",
        description="Plays a language model as a script says, until SIGTERM or Ctrl-C.",
    )
    parser.add_argument("--bind", type=address, default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument(
        "--script", default="demo", help="a script of hack/model_server/scripts, or a .json file"
    )
    parser.add_argument(
        "--key-file", type=Path, help="refuse requests that do not carry the key in this file"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; the first line of standard output is the base URL."""
    options = parse(arguments)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server = ModelServer(
            load_script(options.script),
            *options.bind,
            key=options.key_file.read_text().strip() if options.key_file else None,
            log=lambda line: print(f"model server: {line}", file=sys.stderr, flush=True),
        )
    except (ScriptError, OSError) as error:
        print(f"model server: {error}", file=sys.stderr)
        return 1
    with server:
        print(server.url, flush=True)
        stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
