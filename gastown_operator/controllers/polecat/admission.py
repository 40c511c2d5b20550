"""Who may start: at most `maxPolecats` active pods per rig, one polecat per bead, rig and namespace, in a fair order (DESIGN §7).

The order is a function of what the caches hold, so two workers that look at once come to one answer: only the polecats
that rank before all others may take the free slots; those that could not take one, since a quota is full or their backoff is
not over, are passed over until their own time comes. What the caches cannot show yet, a pod whose creation is under way, is
assumed until it is seen.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC
from itertools import islice, starmap
from typing import Any, Final

from attrs import define, evolve, field, frozen

from gastown_operator.api import labels
from gastown_operator.api.common import Budget
from gastown_operator.api.core import Pod
from gastown_operator.api.polecat import Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.polecat.backoff import backoff_left
from gastown_operator.controllers.polecat.budget import Grant, grant, is_limited, settles, spent_today
from gastown_operator.controllers.polecat.dependencies import missing
from gastown_operator.controllers.polecat.line import Wait, age, cannot_start, is_candidate, rank, wants_bead
from gastown_operator.controllers.polecat.spending import NOTHING, Spending
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Store

POLECATS_BY_RIG: Final = "rig"
POLECATS_BY_BEAD: Final = "bead"
PODS_BY_OWNER: Final = "owner"
ACTIVE_PODS_BY_RIG: Final = "active-rig"

#: A creation whose answer was lost and that never happened must not hold its slot for ever; as long as controllers of
#: Kubernetes wait for what they expect (pkg/controller/controller_utils.go, ExpectationsTimeout).
DOUBT_SECONDS: Final = 300.0


@frozen
class Verdict:
    """Whether a polecat may start now; if not, why, and with which words."""

    wait: Wait | None = None
    message: str = ""


def polecats_by_rig(polecat: Polecat) -> Iterable[str]:
    """Index: the polecats of a rig."""
    return (polecat.spec.rig,)


def polecats_by_bead(polecat: Polecat) -> Iterable[str]:
    """Index: the polecats that name one bead of a rig, in one namespace."""
    return (bead_index(polecat),) if polecat.spec.bead_id else ()


def pods_by_owner(pod: Pod) -> Iterable[str]:
    """Index: the pods that an object controls, by its UID."""
    owner = pod.metadata.controller
    return (owner.uid,) if owner is not None else ()


def active_pods_by_rig(pod: Pod) -> Iterable[str]:
    """Index: pods that hold a slot of a rig: from creation until terminal, also while they are being deleted."""
    rig = pod.metadata.annotations.get(labels.RIG)
    return (rig,) if rig and not pod.phase.terminal else ()


@frozen
class _Assumed:
    """A pod that is being created, or was and is not in the cache yet.

    Attributes:
        version: resource version of its creation; None while that is under way or not known.
        expires: monotonic second after which a creation whose answer was lost is taken for one that never happened.
    """

    pod: ObjectKey
    rig: str
    reserved: Spending = NOTHING
    version: int | None = None
    expires: float | None = None


@define
class Admission:
    """Decides from the caches, and remembers the pods that are being created."""

    polecats: Store[Polecat]
    pods: Store[Pod]
    clock: Clock
    _assumed: dict[str, _Assumed] = field(init=False, factory=dict)

    def verdict(self, polecat: Polecat, rig: Rig) -> Verdict:
        """Whether `polecat`, a candidate without a pod, may have one now."""
        lacking = missing(self.polecats, polecat)
        if lacking:
            return Verdict(Wait.DEPENDENCY, f"waiting for what it depends on: {lacking}")
        holder = self.bead_holder(polecat)
        if holder is not None:
            text = f'Polecat "{holder.metadata.name}" has bead "{polecat.spec.bead_id}"; this one starts when that one ends or is deleted'
            return Verdict(Wait.BEAD_IN_USE, text)
        maximum = rig.spec.settings.max_polecats
        free = maximum - self.active(rig.metadata.name, besides=polecat)
        if free <= 0 or self._before(polecat, free) >= free:
            text = f'Rig "{rig.metadata.name}" runs at most {maximum} polecats at once (spec.settings.maxPolecats); this one starts when a slot is free'
            return Verdict(Wait.RIG_AT_CAPACITY, text)
        return Verdict()

    def grant(self, polecat: Polecat, rig: Rig) -> Grant:
        """What its next attempt may cost; ask only for one that may have a slot."""
        if not is_limited(polecat, rig):
            return Grant()
        name = rig.metadata.name
        free = rig.spec.settings.max_polecats - self.active(name, besides=polecat)
        granted = grant(polecat, rig, self._spent_today(rig, besides=polecat), max(1, free))
        return evolve(granted, settles=bool(granted.reason) and any(starmap(settles, self._of_rig(name))))

    def _spent_today(self, rig: Rig, *, besides: Polecat) -> Spending:
        if rig.spec.budget == Budget():
            return NOTHING
        name = rig.metadata.name
        others = self._unseen(name) - {besides.metadata.uid}
        unseen = (self._assumed[uid].reserved for uid in others)
        return sum(unseen, spent_today(rig, self._of_rig(name), self.clock.now().astimezone(UTC).date()))

    def _of_rig(self, name: str) -> Iterable[tuple[Polecat, Sequence[Pod]]]:
        for polecat in self.polecats.by_index(POLECATS_BY_RIG, name):
            yield polecat, self.pods.by_index(PODS_BY_OWNER, polecat.metadata.uid)

    def bead_holder(self, polecat: Polecat) -> Polecat | None:
        """The polecat that comes before this one on the same bead, if there is one."""
        if not polecat.spec.bead_id:
            return None
        same = self.polecats.by_index(POLECATS_BY_BEAD, bead_index(polecat))
        others = (other for other in same if other.metadata.uid != polecat.metadata.uid)
        holding = [other for other in others if self._holds_bead(other, against=polecat)]
        return min(holding, key=age, default=None)

    def active(self, rig: str, *, besides: Polecat | None = None) -> int:
        """How many slots of a rig are taken, counting pods that are being created but for those of `besides`."""
        own = besides.metadata.uid if besides is not None else ""
        return len(self.pods.by_index(ACTIVE_PODS_BY_RIG, rig)) + len(self._unseen(rig) - {own})

    def assume(self, polecat: Polecat, pod: ObjectKey, reserved: Spending = NOTHING) -> None:
        """Count a pod that is about to be created, and what it may cost. Call it before the first await after the verdict."""
        self._assumed[polecat.metadata.uid] = _Assumed(pod, polecat.spec.rig, reserved)

    def created(self, polecat: Polecat, version: int) -> None:
        """Count its pod until the cache has come as far as its creation."""
        self._revise(polecat, version=version)

    def refused(self, polecat: Polecat) -> None:
        """Stop counting the pod of a polecat: there will be none."""
        self._assumed.pop(polecat.metadata.uid, None)

    def doubt(self, polecat: Polecat) -> None:
        """Count its pod a while longer: whether it was created is not known."""
        self._revise(polecat, expires=self.clock.monotonic() + DOUBT_SECONDS)

    def in_line(self, polecat: Polecat) -> bool:
        """Whether it would take a slot now. One that could not does not keep those behind it from theirs."""
        return (
            is_candidate(polecat)
            and not cannot_start(polecat)
            and not missing(self.polecats, polecat)
            and backoff_left(polecat, self.clock.now()) <= 0
        )

    def next_in_line(self, rig: str, maximum: int) -> list[ObjectKey]:
        """The candidates that the free slots of a rig are for."""
        free = maximum - self.active(rig)
        if free <= 0:
            return []
        now = self.clock.now()
        waiting = sorted(self._oldest_of_each_bead(rig), key=lambda polecat: rank(polecat, now))
        may_start = (other.metadata.key for other in waiting if self.bead_holder(other) is None)
        return list(islice(may_start, free))

    def _before(self, polecat: Polecat, enough: int) -> int:
        """How many candidates rank before this one, counted up to `enough`."""
        now = self.clock.now()
        own = rank(polecat, now)
        count = 0
        for other in self._candidates(polecat.spec.rig):
            if rank(other, now) < own and self.bead_holder(other) is None:
                count += 1
                if count >= enough:
                    break
        return count

    def _candidates(self, rig: str) -> Iterable[Polecat]:
        return (
            polecat
            for polecat in self.polecats.by_index(POLECATS_BY_RIG, rig)
            if self.in_line(polecat) and not self._holds_slot(polecat)
        )

    def _oldest_of_each_bead(self, rig: str) -> Iterable[Polecat]:
        """The candidates without those whom an older one in line keeps from their bead."""
        oldest: dict[str, Polecat] = {}
        for polecat in self._candidates(rig):
            wanted = bead_index(polecat) if polecat.spec.bead_id else polecat.metadata.uid
            if wanted not in oldest or age(polecat) < age(oldest[wanted]):
                oldest[wanted] = polecat
        return oldest.values()

    def _holds_bead(self, other: Polecat, *, against: Polecat) -> bool:
        """An older one that could work on the bead comes first; whoever has a pod keeps it until the pod has ended."""
        older = age(other) < age(against)
        # One that waits for others may wait for this very one.
        first = older and wants_bead(other) and not missing(self.polecats, other)
        return first or other.status.pod_active or self._holds_slot(other)

    def _holds_slot(self, polecat: Polecat) -> bool:
        """Whether its pod is there already or is being created, though its status does not say so yet."""
        uid = polecat.metadata.uid
        return uid in self._assumed or any(
            not pod.phase.terminal for pod in self.pods.by_index(PODS_BY_OWNER, uid)
        )

    def _revise(self, polecat: Polecat, **changes: Any) -> None:
        assumed = self._assumed.get(polecat.metadata.uid)
        if assumed is not None:
            self._assumed[polecat.metadata.uid] = evolve(assumed, **changes)

    def _unseen(self, rig: str) -> set[str]:
        """UIDs of the rig's polecats whose pods are being created and not in the cache yet."""
        for uid in [uid for uid, assumed in self._assumed.items() if self._settled(assumed)]:
            del self._assumed[uid]
        return {uid for uid, assumed in self._assumed.items() if assumed.rig == rig}

    def _settled(self, assumed: _Assumed) -> bool:
        seen = self.pods.get(assumed.pod) is not None
        reached = self.pods.resource_version_of(assumed.pod.namespace)
        caught_up = assumed.version is not None and reached >= assumed.version
        expired = assumed.expires is not None and self.clock.monotonic() >= assumed.expires
        return seen or caught_up or expired


def bead_index(polecat: Polecat) -> str:
    """Value of the index under which the polecats of one bead are."""
    return bead_value(polecat.spec.rig, polecat.metadata.namespace, polecat.spec.bead_id)


def bead_value(rig: str, namespace: str, bead: str) -> str:
    """Value of the index for a bead of a rig in a namespace."""
    return f"{rig}/{namespace}/{bead}"
