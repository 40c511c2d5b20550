"""What the rules are computed from: pods with an address, namespaces, and policies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hack.lab.policies.selectors import Labels

Object = Mapping[str, Any]
# Namespace and name of a pod, and its address.
Attachments = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Pod:
    """A pod of the pods' network. `ports` has its named ports, by name and protocol."""

    namespace: str
    name: str
    address: str
    labels: Labels
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """One moment of a cluster."""

    pods: tuple[Pod, ...] = ()
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    policies: tuple[Object, ...] = ()


def observed(
    pods: Iterable[Object], namespaces: Iterable[Object], policies: Iterable[Object], attached: Attachments
) -> State:
    """The state of what the API server lists. CNI knows a pod's address before the API server does; pods of the host have none."""
    found = [pod for each in pods if (pod := _pod(each, attached)) is not None]
    return State(
        pods=tuple(sorted(found, key=lambda pod: (pod.namespace, pod.name))),
        namespaces={each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in namespaces},
        policies=tuple(sorted(policies, key=_identity)),
    )


def _identity(policy: Object) -> tuple[str, str]:
    return policy["metadata"]["namespace"], policy["metadata"]["name"]


def _pod(raw: Object, attached: Attachments) -> Pod | None:
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    namespace, name = metadata["namespace"], metadata["name"]
    address = attached.get((namespace, name)) or status.get("podIP")
    # The address of a pod that has ended may be another's by now.
    if not address or spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    ports = {
        (port["name"], port.get("protocol") or "TCP"): port["containerPort"]
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
        for port in container.get("ports") or ()
        if port.get("name")
    }
    return Pod(namespace, name, address, metadata.get("labels") or {}, ports)
