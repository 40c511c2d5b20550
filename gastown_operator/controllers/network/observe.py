"""What the network controller looks at before it decides: one namespace, the rigs that work there, our policies and pods in it."""

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from gastown_operator.api.core import Namespace, Pod
from gastown_operator.api.networkpolicy import NetworkPolicy
from gastown_operator.api.rig import Rig
from gastown_operator.runtime.store import Store

RIGS_BY_NAMESPACE: Final = "namespace"
POLICIES_BY_NAMESPACE: Final = "namespace"
PODS_BY_NAMESPACE: Final = "namespace"


@frozen
class Observed:
    """One moment of a namespace.

    Attributes:
        rigs: those whose polecats may run in it, by name.
        policies: the NetworkPolicies in it that carry our labels.
        pods: those of ours in it whose containers may still run.
    """

    namespace: Namespace
    rigs: tuple[Rig, ...]
    policies: tuple[NetworkPolicy, ...]
    pods: tuple[Pod, ...] = ()


@frozen
class Caches:
    """The stores that the network controller reads."""

    namespaces: Store[Namespace]
    rigs: Store[Rig]
    policies: Store[NetworkPolicy]
    pods: Store[Pod]

    def observe(self, namespace: Namespace) -> Observed:
        """Read everything from the caches, without awaiting: one consistent moment."""
        name = namespace.metadata.name
        return Observed(
            namespace,
            self.rigs.by_index(RIGS_BY_NAMESPACE, name),
            self.policies.by_index(POLICIES_BY_NAMESPACE, name),
            self.pods.by_index(PODS_BY_NAMESPACE, name),
        )


def namespaces_of(rig: Rig) -> Iterable[str]:
    """Index: the namespaces where a rig's polecats and its children may run."""
    return dict.fromkeys((rig.spec.work_namespace, *rig.spec.allowed_namespaces))


def running_by_namespace(pod: Pod) -> Iterable[str]:
    """Index: the namespace of a pod whose containers may still run."""
    return () if pod.phase.terminal else (pod.metadata.namespace,)


def by_namespace(policy: NetworkPolicy) -> Iterable[str]:
    """Index: the namespace that a policy is in."""
    return (policy.metadata.namespace,)
