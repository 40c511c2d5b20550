"""The machine's name servers, whose place the cluster's own DNS takes inside its network namespace."""

import ipaddress
from pathlib import Path

from hack.lab.layout import NODE_ADDRESS, POD_CIDR, SERVICE_CIDR

RESOLV_CONF = Path("/etc/resolv.conf")


def name_servers(resolv_conf: str) -> list[str]:
    """The IPv4 addresses in the text of resolv.conf, but for those that mean something else inside a cluster."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and _usable(words[1]):
            found.append(words[1])
    return found


def dns_addresses() -> list[str]:
    """Where DNS is served inside: the node, and wherever programs that read the machine's resolv.conf will ask.

    Without that, containerd and the commands of `exec` would wait for answers that cannot come.
    """
    text = RESOLV_CONF.read_text() if RESOLV_CONF.exists() else ""
    return [NODE_ADDRESS, *name_servers(text)]


def _usable(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:  # IPv6 too: the machine may have it disabled
        return False
    taken = (ipaddress.IPv4Network(network) for network in (POD_CIDR, SERVICE_CIDR, f"{NODE_ADDRESS}/32"))
    return not any(address in network for network in taken)
