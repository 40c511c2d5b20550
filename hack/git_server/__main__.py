"""The git server's command line: `python3 -m hack.git_server serve --help`."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from hack.git_server.errors import GitServerError
from hack.git_server.openssh import prepare
from hack.git_server.server import GitServer
from hack.lab.errors import LabError
from hack.lab.progress import Progress


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python3 -m hack.git_server", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="install what the server needs")
    serve = commands.add_parser("serve", help="serve a directory until SIGTERM or Ctrl-C")
    serve.add_argument(
        "--directory", type=Path, required=True, help="holds repositories, keys and certificates"
    )
    serve.add_argument("--address", default="127.0.0.1")
    serve.add_argument("--ssh-port", type=int, default=0)
    serve.add_argument("--https-port", type=int, default=0)
    serve.add_argument("--authorize", type=Path, action="append", default=[], metavar="PUBLIC_KEY_FILE")
    serve.add_argument(
        "--user",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file with NAME:PASSWORD for HTTPS",
    )
    serve.add_argument(
        "--repository",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "DIRECTORY"),
        help="make a repository of a directory's files, unless it exists",
    )
    return parser.parse_args(arguments)


def files_of(directory: Path) -> dict[str, bytes]:
    """Return the files below a directory by their relative names."""
    paths = (
        path for path in sorted(directory.rglob("*")) if path.is_file() and "__pycache__" not in path.parts
    )
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def serve(options: argparse.Namespace) -> None:
    """Serve until a signal; the first line of standard output says where, as JSON."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = GitServer(
        options.directory, options.address, ssh_port=options.ssh_port, https_port=options.https_port
    )
    for name, directory in options.repository:
        if not server.repositories.path(name).exists():
            server.create_repository(name, files_of(Path(directory)))
    for key in options.authorize:
        server.authorize(key.read_text())
    for account in options.user:
        server.authorize_user(*account.read_text().strip().split(":", 1))
    with server:
        where = {
            "sshPort": server.ssh.port,
            "httpsPort": server.https.port,
            "knownHosts": server.known_hosts_line(),
            "certificateAuthority": str(server.https.certificates.authority),
            "repositories": {name: server.ssh_url(name) for name, _ in options.repository},
        }
        print(json.dumps(where), flush=True)
        stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare or serve; return the exit status."""
    options = parse(arguments)
    try:
        prepare(Progress("git server"))
        if options.command == "serve":
            serve(options)
    except (GitServerError, LabError, OSError) as error:
        print(f"git server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
