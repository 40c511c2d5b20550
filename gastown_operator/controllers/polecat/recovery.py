"""Whose refs on the remote are whose: a polecat may go on from another's checkpoints only when that one is gone."""

from collections.abc import Iterable
from typing import Final

from gastown_operator.api import names
from gastown_operator.api.polecat import Polecat
from gastown_operator.controllers.polecat.line import age
from gastown_operator.runtime.store import Store

POLECATS_BY_RECOVERY_KEY: Final = "recovery-key"


def recovery_key(polecat: Polecat) -> str:
    """Key of its refs on the remote: with the namespace, so that no other namespace's are within its reach."""
    return f"{polecat.metadata.namespace}/{names.recovery_key(polecat.metadata)}"


def polecats_by_recovery_key(polecat: Polecat) -> Iterable[str]:
    """Index: the polecats that have a recovery key, or are whom it belongs to."""
    return {recovery_key(polecat), _native_key(polecat)}


def key_holder(polecats: Store[Polecat], polecat: Polecat) -> Polecat | None:
    """The polecat that keeps this one from the key of its annotation, if there is one."""
    key = recovery_key(polecat)
    if key == _native_key(polecat):
        return None
    same = polecats.by_index(POLECATS_BY_RECOVERY_KEY, key)
    others = [other for other in same if other.metadata.uid != polecat.metadata.uid]
    return next(
        (other for other in others if _native_key(other) == key or age(other) < age(polecat)),
        None,
    )


def _native_key(polecat: Polecat) -> str:
    return f"{polecat.metadata.namespace}/{polecat.metadata.uid}"
