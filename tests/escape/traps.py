"""Traps in an agent's git repository, and the server to which they report where they ran."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from string import Template

from attrs import define, field

from gastown_operator.workload import layout
from tests.escape.attempts import TRAPS

HOOKS = (
    "pre-commit",
    "post-commit",
    "reference-transaction",
    "pre-push",
    "post-checkout",
    "post-index-change",
)
NAMES = tuple(attempt.name for attempt in TRAPS)
#: Reports by name where it runs: only clone and keeper have the credential mounted.
TRAP = Template("""\
#!/usr/bin/python3
import os, socket, sys
name = os.path.basename(sys.argv[0])
where = "beside the credential" if os.path.exists("$credentials") else "in the agent"
with socket.create_connection(("$host", $port), 5) as connection:
    connection.sendall(f"{name} {where}\\n".encode())
    connection.recv(1)
if name == "filter":
    sys.stdout.buffer.write(sys.stdin.buffer.read())
if name == "git":
    os.execv("/usr/bin/git", sys.argv)
sys.exit(name == "ssh")
""")
#: Sets every trap in the repository of the present directory.
SET = Template("""\
set -e
mkdir .git/traps
cat > .git/traps/trap << 'END'
$trap
END
chmod +x .git/traps/trap
for name in $names; do ln -s trap .git/traps/$$name; done
traps=$$PWD/.git/traps
cp .git/traps/trap git

echo mine > mine.txt && git add mine.txt && git commit --quiet --message Mine
git init --quiet nested && (cd nested
  git -c user.name=a -c user.email=a@b commit --quiet --allow-empty --message One
  git -c user.name=a -c user.email=a@b commit --quiet --allow-empty --message Two)
git update-index --add --cacheinfo 160000,$$(git -C nested rev-parse HEAD~1),nested
git config -f .gitmodules submodule.nested.path nested
git config -f .gitmodules submodule.nested.url "ext::sh -c $$traps/submodule"
git config submodule.nested.url ./nested
git config submodule.nested.update '!'"$$traps/submodule"

git config core.hooksPath "$$traps"
git config core.fsmonitor "$$traps/fsmonitor"
git config core.sshCommand "$$traps/ssh"
git config credential.helper "$$traps/helper"
git config filter.trap.clean "$$traps/filter"
git config filter.trap.required true
git config url.$elsewhere.insteadOf "$$(git config remote.origin.url)"
echo '* filter=trap' > .gitattributes
""")
#: Steps into each of them, as whoever runs git in the agent's repository does.
STEP = """\
echo caught > caught.txt && git add caught.txt .gitattributes && git commit --quiet --message Caught
git status --short
git checkout --quiet -b aside && git checkout --quiet -
git init --quiet --bare /tmp/nearby && git push --quiet /tmp/nearby HEAD:refs/heads/x
git ls-remote origin || true
printf 'protocol=https\\nhost=git.example.invalid\\n\\n' | GIT_TERMINAL_PROMPT=0 git credential fill || true
git submodule update nested || true
"""


def reporting(host: str, port: int) -> str:
    """The program that reports its name, and whether the credential is beside it."""
    return TRAP.substitute(host=host, port=port, credentials=layout.GIT_CREDENTIALS)


def setting(host: str, port: int, elsewhere: str) -> str:
    """The shell text that sets all traps; `elsewhere` is the repository to which pushes are to be diverted."""
    trap = reporting(host, port)
    return SET.substitute(trap=trap, names=" ".join(NAMES), elsewhere=elsewhere)


@define
class Listener:
    """The first line of whatever connected."""

    port: int
    reports: set[str] = field(factory=set)


@contextmanager
def listening(address: str) -> Iterator[Listener]:
    """A server for the traps' reports."""

    class Report(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # Whoever reports waits until we hang up: what it says is here before it goes on.
            listener.reports.add(self.rfile.readline().decode(errors="replace").strip())

    with socketserver.ThreadingTCPServer((address, 0), Report) as server:
        listener = Listener(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, name="traps", daemon=True)
        thread.start()
        yield listener
        server.shutdown()
        thread.join()
