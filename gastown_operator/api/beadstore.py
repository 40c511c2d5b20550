"""BeadStore: the issue tracker of a rig, kept in its repository."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from attrs import field, frozen

from gastown_operator.api.codec import projection
from gastown_operator.api.common import CONDITIONS, Condition, SecretReference
from gastown_operator.api.fields import Constraint, doc
from gastown_operator.api.labels import GROUP, VERSION
from gastown_operator.api.scalars import Int32
from gastown_operator.runtime.objects import ObjectMeta, Resource


class BeadStorePhase(StrEnum):
    """State of a BeadStore."""

    PENDING = "Pending"
    SYNCED = "Synced"
    ERROR = "Error"


@frozen(kw_only=True)
class BeadStoreSpec:
    """Which rig's issues a BeadStore follows."""

    rig_ref: str = field(default="", metadata=doc("Name of the Rig.", older=True, required=True))
    prefix: Annotated[str, Constraint(pattern="^[a-z]+-$")] = field(
        default="", metadata=doc("Prefix of the issues, with the dash.", older=True, required=True)
    )
    sync_interval: str = field(
        default="5m",
        metadata=doc("Time between two reads of the repository.", older=True, server_default=True),
    )
    git_secret_ref: SecretReference | None = field(
        default=None,
        metadata=doc("Secret with the credential for the repository. Defaults to the Rig's.", older=True),
    )


@frozen(kw_only=True)
class BeadStoreStatus:
    """What is known of a BeadStore."""

    phase: BeadStorePhase | None = field(default=None, metadata=doc("State of the BeadStore.", older=True))
    last_sync_time: datetime | None = field(
        default=None, metadata=doc("When the issues were last read and found changed.", older=True)
    )
    issue_count: Int32 | None = field(default=None, metadata=doc("Number of issues.", older=True))
    conditions: tuple[Condition, ...] = field(default=(), metadata=CONDITIONS)


@frozen(kw_only=True)
class BeadStore:
    """A BeadStore makes the issues in a Rig's repository known to the cluster."""

    metadata: ObjectMeta
    spec: BeadStoreSpec = field(default=BeadStoreSpec(), metadata=doc("What is wanted.", required=True))
    status: BeadStoreStatus = field(default=BeadStoreStatus())


BEAD_STORE: Final = Resource(
    GROUP, VERSION, "BeadStore", "beadstores", namespaced=True, project=projection(BeadStore, "BeadStore")
)
