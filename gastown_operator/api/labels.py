"""Names that the operator puts on what it creates. Label values are made label-safe; annotations hold exact values."""

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

OPERATOR: Final = "gastown-operator"
"""The value of `app.kubernetes.io/name` and of `managed-by`."""

RECOVERY_KEY: Final = "gastown.io/recovery-key"
"""Annotation of a Polecat: under which key its refs are kept on the remote (default: its UID)."""
RETRY: Final = "gastown.io/retry"
"""Annotation of a Polecat: a new value asks for another round."""

RESERVED_PREFIXES: Final = ("gastown.io/", "app.kubernetes.io/")
"""Users cannot set these keys on pods."""
OLDER_FINALIZER_SUFFIX: Final = "-cleanup"
"""The older operator's finalizers are `gastown.io/*-cleanup`; they are removed from what it left behind."""
