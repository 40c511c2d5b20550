"""Faults of the lab's cluster that the tests run in: a component that ends, a history that is compacted."""

import json
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
from attrs import frozen

from tests.support.audit import AuditLog

PROGRAM = Path(__file__).resolve().parents[2] / "hack" / "cluster"
ETCD_PORT = 2379


@frozen
class Lab:
    """The cluster that `hack/cluster exec` has put us into."""

    name: str
    audit: AuditLog

    async def restart(self, component: str, *, kill: bool = False) -> None:
        """End a component, by SIGTERM or SIGKILL, and start it again; return when the cluster is ready."""
        command = [sys.executable, str(PROGRAM), "restart", component, "--name", self.name]
        ended = await anyio.run_process(
            [*command, "--kill"] if kill else command, stderr=subprocess.PIPE, check=False
        )
        assert ended.returncode == 0, ended.stderr.decode()

    def compact_etcd(self) -> int:
        """Make etcd forget every version but the present one, which is returned."""
        revision = int(_etcd("range", {"key": "eA=="})["header"]["revision"])
        _etcd("compaction", {"revision": str(revision), "physical": True})
        return revision


def _etcd(call: str, body: dict[str, Any]) -> Any:
    """Call etcd's key-value service through its JSON gateway."""
    with closing(HTTPConnection("127.0.0.1", ETCD_PORT, timeout=10)) as connection:
        connection.request("POST", f"/v3/kv/{call}", json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)
