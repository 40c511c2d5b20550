"""Where a rig's pods have to go, which of these places a policy would block, and what to add so that it does not."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from gastown_operator.api.giturl import GitURLError, parse_git_url
from gastown_operator.api.network import NetworkEndpoint
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.network.settings import METADATA_RANGES, NetworkSettings, Range

#: SSH and HTTPS, always: a Polecat with a credential of its own may have its repository or model elsewhere.
ALWAYS: Final = frozenset({22, 443})
_HTTP_PORTS: Final = {"http": 80, "https": 443}


@frozen(order=True)
class Destination:
    """A place that a specification names; `field` is where."""

    field: str
    host: str
    port: int

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address, if the host is one and not a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def namespace(self) -> str:
        """The namespace of a Service, if the host is the name of one (`name.namespace.svc`)."""
        parts = self.host.removesuffix(".").removesuffix(".cluster.local").split(".")
        return parts[1] if len(parts) == 3 and parts[2] == "svc" else ""


def destinations(rig: Rig) -> tuple[Destination, ...]:
    """Return the git host and the providers of a rig; what is malformed is left out, since nothing goes there."""
    found: list[Destination] = []
    try:
        url = parse_git_url(rig.spec.git_url)
        found.append(Destination("gitURL", url.host, url.port))
    except GitURLError:
        pass  # the rig's own condition says so
    for provider in rig.spec.providers:
        found += _endpoint(f'the endpoint of provider "{provider.name}"', provider.endpoint)
    found += _endpoint(
        "the endpoint of the default provider", rig.spec.defaults.agent_config.model_provider.endpoint
    )
    return tuple(found)


def proxies(settings: NetworkSettings) -> tuple[Destination, ...]:
    """Return the proxies of the operator's command line."""
    return tuple(place for url in settings.proxies for place in _endpoint("a proxy", url))


def outside_ports(rig: Rig, settings: NetworkSettings) -> tuple[int, ...]:
    """Return the TCP ports that the rig's pods may reach outside of the cluster."""
    named = {place.port for place in (*destinations(rig), *proxies(settings))}
    return tuple(sorted(named | ALWAYS))


def network_of(endpoint: NetworkEndpoint) -> Range | None:
    """Return the range of an allowed endpoint; None for one that names a namespace, is no range, or is where metadata are."""
    if not endpoint.cidr:
        return None
    try:
        network = ip_network(endpoint.cidr, strict=False)
    except ValueError:
        return None
    return None if any(_within(network, metadata) for metadata in METADATA_RANGES) else network


def problems(rig: Rig, settings: NetworkSettings) -> Iterator[str]:
    """Yield one sentence for each thing that will not be reached, with what to change."""
    if not rig.spec.network.enforce:
        return
    for endpoint in rig.spec.network.allow:
        if endpoint.cidr and network_of(endpoint) is None:
            yield (
                f'spec.network.allow has "{endpoint.cidr}", which is no range of addresses or holds the metadata of nodes; '
                "it is left out; correct or remove it"
            )
    for place in dict.fromkeys(destinations(rig)):
        hint = _missing(place, rig.spec.network.allow, settings.cluster_ranges)
        if hint:
            yield f"{place.field} is {place.host} port {place.port}, inside of the cluster; {hint}"


def _missing(place: Destination, allowed: Iterable[NetworkEndpoint], blocked: Iterable[Range]) -> str:
    """What to add to spec.network.allow, or nothing where the place is reached."""
    fitting = [endpoint for endpoint in allowed if not endpoint.ports or place.port in endpoint.ports]
    if place.address is not None:
        networks = [network for endpoint in fitting if (network := network_of(endpoint)) is not None]
        if not _in_any(place.address, (*blocked, *METADATA_RANGES)) or _in_any(place.address, networks):
            return ""
        length = place.address.max_prefixlen
        return f"add {{cidr: {place.host}/{length}, ports: [{place.port}]}} to spec.network.allow"
    if place.namespace and not any(
        endpoint.cidr or endpoint.namespace == place.namespace for endpoint in allowed
    ):
        return (
            f"add {{namespace: {place.namespace}, ports: [the port of its pods]}} to spec.network.allow, since policies see the "
            "pods behind a Service"
        )
    return ""


def _in_any(address: IPv4Address | IPv6Address, networks: Iterable[Range]) -> bool:
    return any(address in network for network in networks)


def _within(inner: Range, outer: Range) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type] # of one version by then


def _endpoint(field: str, url: str) -> Iterator[Destination]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _HTTP_PORTS.get(parts.scheme)
    except ValueError:
        return
    if host and port:
        yield Destination(field, host, port)
