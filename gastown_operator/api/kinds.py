"""The six kinds, and the columns in which `kubectl get` shows them."""

from typing import Any, Final

from attrs import frozen

from gastown_operator.api.beadstore import BEAD_STORE, BeadStore
from gastown_operator.api.convoy import CONVOY, Convoy
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.refinery import REFINERY, Refinery
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.api.witness import WITNESS, Witness
from gastown_operator.runtime.objects import Resource


@frozen
class Column:
    """A column of `kubectl get`; one that is `wide` shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@frozen
class Kind:
    """A kind with all that its CustomResourceDefinition says."""

    resource: Resource[Any]
    model: type[Any]
    columns: tuple[Column, ...]


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")
_PHASE: Final = Column("Phase", ".status.phase")
_READY_REASON: Final = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason')
_RIG_REF: Final = Column("Rig", ".spec.rigRef")

KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        RIG,
        Rig,
        (
            _PHASE,
            _READY_REASON,
            Column("Polecats", ".status.polecatCount", "integer"),
            Column("Convoys", ".status.activeConvoys", "integer"),
            _AGE,
            Column("URL", ".spec.gitURL", wide=True),
            Column("SpentTokens", ".status.dayBudget.spentTokens", "integer", wide=True),
            Column("ReservedTokens", ".status.dayBudget.reservedTokens", "integer", wide=True),
            Column("LeftTokens", ".status.dayBudget.leftTokens", "integer", wide=True),
            Column("SpentUSD", ".status.dayBudget.spentCostUSD", wide=True),
            Column("AtLeast", ".status.dayBudget.costIsLowerBound", "boolean", wide=True),
            Column("ReservedUSD", ".status.dayBudget.reservedCostUSD", wide=True),
            Column("LeftUSD", ".status.dayBudget.leftCostUSD", wide=True),
            Column("Resets", ".status.dayBudget.resetsAt", wide=True),
        ),
    ),
    Kind(
        POLECAT,
        Polecat,
        (
            Column("Rig", ".spec.rig"),
            _PHASE,
            _READY_REASON,
            Column("Bead", ".status.assignedBead"),
            Column("Pod", ".status.podName"),
            Column("Active", ".status.podActive", "boolean"),
            _AGE,
            Column("Mode", ".spec.executionMode", wide=True),
            Column("Agent", ".status.agent", wide=True),
            Column("Model", ".status.agentModel", wide=True),
            Column("Session", ".status.sessionActive", "boolean", wide=True),
            Column("Branch", ".status.branch", wide=True),
            Column("Attempt", ".status.attempt", "integer", wide=True),
        ),
    ),
    Kind(
        CONVOY,
        Convoy,
        (
            _PHASE,
            Column("Progress", ".status.progress"),
            _AGE,
            Column("BeadsID", ".status.beadsConvoyID", wide=True),
        ),
    ),
    Kind(
        WITNESS,
        Witness,
        (
            _RIG_REF,
            _PHASE,
            Column("Running", ".status.polecatsSummary.running", "integer"),
            Column("Stuck", ".status.polecatsSummary.stuck", "integer"),
            _AGE,
        ),
    ),
    Kind(
        REFINERY,
        Refinery,
        (
            _RIG_REF,
            _PHASE,
            Column("Queue", ".status.queueLength", "integer"),
            Column("Current", ".status.currentMerge"),
            _AGE,
        ),
    ),
    Kind(
        BEAD_STORE,
        BeadStore,
        (
            _RIG_REF,
            Column("Prefix", ".spec.prefix"),
            _PHASE,
            Column("Issues", ".status.issueCount", "integer"),
            _AGE,
        ),
    ),
)
