"""An agent that turns its `.git` into traps: they catch its own git, and never the keeper, which holds the credential."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from string import Template

from attrs import define, field

from tests.support.cluster import environment
from tests.support.site import Site

HOW = "hack/cluster exec --name node -- .venv/bin/pytest tests/node"
HOOKS = (
    "pre-commit",
    "post-commit",
    "reference-transaction",
    "pre-push",
    "post-checkout",
    "post-index-change",
)
TRAPS = (*HOOKS, "fsmonitor", "filter", "ssh")
#: Reports by name where it runs: only clone and keeper have the credentials mounted.
TRAP = """\
#!/usr/bin/python3
import os, socket, sys
name = os.path.basename(sys.argv[0])
where = "beside the credential" if os.path.exists("/gastown/git-credentials") else "in the agent"
with socket.create_connection(("$host", $port), 5) as connection:
    connection.sendall(f"{name} {where}".encode())
if name == "filter":
    sys.stdout.buffer.write(sys.stdin.buffer.read())
sys.exit(name == "ssh")
"""
#: Sets every trap, steps into each of them (the control), and leaves something for the keeper to commit and push.
SET_TRAPS = Template("""\
set -e
mkdir .git/traps
cat > .git/traps/trap << 'END'
$trap
END
chmod +x .git/traps/trap
for name in $names; do ln -s trap .git/traps/$$name; done
traps=$$PWD/.git/traps

echo mine > mine.txt && git add mine.txt && git commit --quiet --message Mine
git config core.hooksPath "$$traps"
git config core.fsmonitor "$$traps/fsmonitor"
git config core.sshCommand "$$traps/ssh"
git config filter.trap.clean "$$traps/filter"
git config filter.trap.required true
git config url.$elsewhere.insteadOf "$$(git config remote.origin.url)"
echo '* filter=trap' > .gitattributes

echo caught > caught.txt && git add caught.txt .gitattributes && git commit --quiet --message Caught
git status --short
git checkout --quiet -b aside && git checkout --quiet -
git init --quiet --bare /tmp/nearby && git push --quiet /tmp/nearby HEAD:refs/heads/x
git ls-remote origin || true
echo "origin is $$(git remote get-url origin)"
echo left > left.txt
""")


@define
class Listener:
    """What the traps reported."""

    port: int
    reports: set[str] = field(factory=set)


@contextmanager
def listening(address: str) -> Iterator[Listener]:
    """A server for the traps' reports."""

    class Report(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            listener.reports.add(self.rfile.read().decode())

    with socketserver.ThreadingTCPServer((address, 0), Report) as server:
        listener = Listener(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, name="traps", daemon=True)
        thread.start()
        yield listener
        server.shutdown()
        thread.join()


def test_traps_in_the_agent_s_git_catch_nobody_but_the_agent(site: Site) -> None:
    address = environment("GASTOWN_LAB_NODE_ADDRESS", HOW)
    rig, elsewhere = site.rig("hostile"), site.rig("elsewhere")
    with listening(address) as listener:
        trap = Template(TRAP).substitute(host=address, port=listener.port)
        script = SET_TRAPS.substitute(
            trap=trap, names=" ".join(TRAPS), elsewhere=site.git.ssh_url(elsewhere.repository)
        )
        polecat = rig.sling("hostile", script)
        status = polecat.tells("Done", "Done", "polecat/hostile")
        assert listener.reports == {f"{name} in the agent" for name in TRAPS}
    agent = site.cluster.log(rig.namespace, "polecat-hostile", "agent")
    assert f"origin is {site.git.ssh_url(elsewhere.repository)}" in agent
    assert rig.files(status["headCommit"]) == {
        "README.md",
        "mine.txt",
        "caught.txt",
        "left.txt",
        ".gitattributes",
    }
    assert rig.refs["refs/heads/polecat/hostile"] == status["headCommit"]
    assert set(elsewhere.refs) == {"refs/heads/main"}
