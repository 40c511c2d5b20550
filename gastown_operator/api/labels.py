"""Names that the operator puts on what it creates. Label values are made label-safe; annotations hold exact values."""

from collections.abc import Iterable
from typing import Final

GROUP: Final = "gastown.gastown.io"
VERSION: Final = "v1alpha1"

NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
RIG: Final = "gastown.io/rig"
POLECAT: Final = "gastown.io/polecat"
BEAD: Final = "gastown.io/bead"
CONVOY: Final = "gastown.io/convoy"

AGENT: Final = "gastown.io/agent"
"""Annotations of a polecat's pod: what it was built with, so that the status says what runs, not what the spec says by now."""
BRANCH: Final = "gastown.io/branch"
MODEL: Final = "gastown.io/model"
CHECKPOINT: Final = "gastown.io/checkpoint"
"""Annotation of a polecat's pod: the ref that its un-pushed work is kept under."""
STALL_THRESHOLD: Final = "gastown.io/stall-threshold"
"""Annotation of a polecat's pod: seconds without activity after which the keeper is not ready."""
RESERVED_TOKENS: Final = "gastown.io/reserved-tokens"
"""Annotations of a polecat's pod: what its attempt may use, and so what it is charged if its gateway leaves no word."""
RESERVED_COST: Final = "gastown.io/reserved-cost-usd"
CREDENTIAL: Final = "gastown.io/credential"
"""Annotation of a polecat's pod: whose the credential of the model's provider is, `rig` or `polecat`."""

OPERATOR: Final = "gastown-operator"
"""The value of `app.kubernetes.io/name` and of `managed-by`."""
OURS: Final = f"{MANAGED_BY}={OPERATOR}"
"""Selects what the operator makes."""

RECOVERY_KEY: Final = "gastown.io/recovery-key"
"""Annotation of a Polecat: under which key its refs are kept on the remote (default: its UID)."""
RETRY: Final = "gastown.io/retry"
"""Annotation of a Polecat: a new value asks for another round."""

RESERVED_PREFIXES: Final = ("gastown.io/", "app.kubernetes.io/")
"""Users cannot set these keys on pods."""
SPENDING_FINALIZER: Final = "gastown.io/spending"
"""On Polecats of a Rig with a budget, until what they cost is counted in the Rig's status."""
OLDER_FINALIZER_SUFFIX: Final = "-cleanup"
"""The older operator's finalizers are `gastown.io/*-cleanup`; they are removed from what it left behind."""


def older_finalizers(finalizers: Iterable[str]) -> tuple[str, ...]:
    """The finalizers among these that the older operator set."""
    return tuple(
        name
        for name in finalizers
        if name.startswith("gastown.io/") and name.endswith(OLDER_FINALIZER_SUFFIX)
    )
