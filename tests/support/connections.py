"""Connections that tests try from inside of pods, and listeners that they try to reach."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support.cluster import kubectl

Place = tuple[str, str, int]
"""Protocol (`tcp`, or `dns` for a query over UDP), address and port."""

#: Tries all places at once and prints one line: which of them answered. A dropped packet answers nothing, so patience is short:
#: enough for a lost one to be sent twice more.
PROBE = """
import json, socket, struct, sys, threading
places, found = json.loads(sys.argv[1]), {}
def tcp(address, port):
    socket.create_connection((address, port), 4).close()
def dns(address, port):
    names = b"".join(bytes([len(part)]) + part for part in b"kubernetes.default.svc.cluster.local".split(b"."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        query.settimeout(4)
        query.sendto(struct.pack(">6H", 7, 256, 1, 0, 0, 0) + names + b"\\0\\0\\1\\0\\1", (address, port))
        query.recv(512)
def look(name, protocol, address, port):
    try:
        {"tcp": tcp, "dns": dns}[protocol](address, port)
        found[name] = True
    except TimeoutError:
        found[name] = False
    except OSError as error:
        found[name] = str(error)
threads = [threading.Thread(target=look, args=(name, *place)) for name, place in places.items()]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("PROBED " + json.dumps(found), flush=True)
"""
#: Listens on the ports of its arguments for ten minutes at most.
LISTEN = """
import socket, sys, threading, time
def serve(port):
    with socket.create_server(("", port)) as server:
        while True: server.accept()[0].close()
for port in sys.argv[1:]: threading.Thread(target=serve, args=(int(port),), daemon=True).start()
print("LISTENING", flush=True)
time.sleep(600)
"""


def probed(output: str) -> dict[str, bool | str]:
    """Read what PROBE printed: whether each place answered, or another error than silence."""
    line = next(line for line in output.splitlines() if line.startswith("PROBED "))
    answers: dict[str, bool | str] = json.loads(line.removeprefix("PROBED "))
    return answers


def probe_from(
    namespace: str, pod: str, places: Mapping[str, Place], container: str = ""
) -> dict[str, bool | str]:
    """Try the places from a pod that runs, by `kubectl exec`."""
    where = ("--namespace", namespace, pod, *(("--container", container) if container else ()))
    return probed(kubectl("exec", *where, "--", "python3", "-c", PROBE, json.dumps(places)))


@contextmanager
def outside(addresses: set[str], listening: set[tuple[str, int]]) -> Iterator[None]:
    """Let the node have addresses that stand for the world outside of the cluster, and listen at places."""
    made: list[str] = []
    servers: list[socket.socket] = []
    try:
        for address in addresses:
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
            made.append(address)
        for place in listening:
            servers.append(socket.create_server(place))
            threading.Thread(target=_accept, args=(servers[-1],), daemon=True).start()
        yield
    finally:
        for server in servers:
            server.close()
        for address in made:
            subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


def _accept(server: socket.socket) -> None:
    """Until the server is closed."""
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return
