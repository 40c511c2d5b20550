"""Other users of a cluster than the administrator that the tests are."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.apiserver.client import Client


@contextmanager
def acting_as(user: str) -> Iterator[Client]:
    """A client of the cluster that is taken for another user."""
    command = ["kubectl", "proxy", "--port=0", f"--as={user}", "--reject-paths=^$"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            match = re.search(r":(\d+)\s*$", proxy.stdout.readline())
            assert match, "kubectl proxy did not start"
            yield Client(int(match[1]))
        finally:
            proxy.terminate()
