"""What git and gateways in pods are told of proxies and authorities: environment, volume and mount."""

from typing import Any, Final

from attrs import frozen

from gastown_operator.controllers.parts import entries
from gastown_operator.controllers.settings import OperatorSettings
from gastown_operator.workload import layout
from gastown_operator.workload.egress import CA_FILE

JSON = dict[str, Any]

VOLUME: Final = "ca"
_CERTIFICATE: Final = "ca.crt"
_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


@frozen
class EgressParts:
    """Additions to a pod: `env` and `mounts` for what speaks to git or the model (never the agent), `volumes` for the pod."""

    env: tuple[JSON, ...] = ()
    mounts: tuple[JSON, ...] = ()
    volumes: tuple[JSON, ...] = ()


def egress_environment(settings: OperatorSettings) -> EgressParts:
    """The additions that the operator's options ask for.

    A Secret or a ConfigMap that is missing does not keep the pod from starting: who needs the proxy says that the server is out of reach.
    """
    ways = settings.egress
    given = dict(zip(_PROXIES, (ways.https_proxy, ways.http_proxy, ways.no_proxy), strict=True))
    env = entries({name: value for name, value in given.items() if value})
    if ways.proxy_secret:
        env = [
            {
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": ways.proxy_secret, "key": name, "optional": True}},
            }
            for name in _PROXIES
        ]
    if not ways.ca_config_map:
        return EgressParts(env=tuple(env))
    directory = layout.CERTIFICATE_AUTHORITIES
    env.append({"name": CA_FILE, "value": str(directory / _CERTIFICATE)})
    source = {
        "name": ways.ca_config_map,
        "optional": True,
        "items": [{"key": _CERTIFICATE, "path": _CERTIFICATE}],
    }
    return EgressParts(
        env=tuple(env),
        mounts=({"name": VOLUME, "mountPath": str(directory), "readOnly": True},),
        volumes=({"name": VOLUME, "configMap": source},),
    )
