"""What the polecat controller may ask: whether the policy of a rig's pods stands in a namespace."""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import field, frozen

from gastown_operator.api import labels
from gastown_operator.api.networkpolicy import NETWORK_POLICY, NetworkPolicy
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.network.destinations import problems
from gastown_operator.controllers.network.policy import policy_name
from gastown_operator.controllers.network.settings import NetworkSettings
from gastown_operator.runtime.controller import Watch, mapped
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Event, EventType, Store


@frozen
class Fence:
    """The policies that there are; without a cache nobody makes any, and nothing waits for them."""

    policies: Store[NetworkPolicy] | None = None
    settings: NetworkSettings = field(default=NetworkSettings())

    def stands(self, rig: str, namespace: str) -> bool:
        """Whether a pod of the rig would be fenced in from its first packet on."""
        return self.policies is None or self.policies.get(ObjectKey(namespace, policy_name(rig))) is not None

    def blocked(self, rig: Rig) -> str:
        """What of a rig's destinations its pods would not reach, with what to change; empty where all are."""
        return "; ".join(problems(rig, self.settings)) if self.policies is not None else ""

    def watches(self, keys: Callable[[str, str], Iterable[ObjectKey]]) -> list[Watch[Any]]:
        """Watches that wake what `keys` says of a rig and a namespace, when the policy of the rig comes there."""

        def woken(event: Event[NetworkPolicy]) -> Iterable[ObjectKey]:
            metadata = event.object.metadata
            rig = metadata.annotations.get(labels.RIG)
            return keys(rig, metadata.namespace) if rig and event.type is EventType.ADDED else ()

        return [mapped(NETWORK_POLICY, woken)] if self.policies is not None else []
