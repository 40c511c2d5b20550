"""What of the network a Rig's pods may reach, beyond the outside ports of its git host and its providers."""

from typing import Annotated, ClassVar, Final

from attrs import field, frozen

from gastown_operator.api.fields import Constraint, ObjectSchema, Rule, doc
from gastown_operator.api.scalars import NamespaceName

Port = Annotated[int, Constraint(format="int32", minimum=1, maximum=65535)]
CIDR = Annotated[str, Constraint(min_length=4, max_length=49, pattern=r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$")]

_ONE_PEER: Final = Rule("has(self.cidr) != has(self.namespace)", "say either cidr or namespace, and not both")


@frozen(kw_only=True)
class NetworkEndpoint:
    """Addresses inside of the cluster's ranges, or pods of a namespace, that pods may reach although the rest is blocked."""

    SCHEMA: ClassVar = ObjectSchema(rules=(_ONE_PEER,))

    cidr: CIDR = field(
        default="",
        metadata=doc(
            "Addresses, such as `10.20.30.40/32`. For a Service those of its pods: policies see the pod behind it."
        ),
    )
    namespace: NamespaceName = field(default="", metadata=doc("All pods of this namespace."))
    ports: tuple[Port, ...] = field(
        default=(), metadata=doc("TCP ports. All if there are none.", list_type="set", max_items=32)
    )


@frozen(kw_only=True)
class Network:
    """The NetworkPolicy of a Rig's pods in every namespace where they may run."""

    enforce: bool = field(
        default=True,
        metadata=doc(
            "Whether the pods' connections are limited; if not, the policy allows all of them.",
            server_default=True,
        ),
    )
    allow: tuple[NetworkEndpoint, ...] = field(
        default=(),
        metadata=doc(
            "Endpoints inside of the cluster's ranges, such as a git server or a model server.",
            list_type="atomic",
            max_items=32,
        ),
    )
    metrics_namespace: NamespaceName = field(
        default="",
        metadata=doc(
            "Namespace whose pods may read the metrics of polecats' pods. Defaults to the operator's `--metrics-namespace`."
        ),
    )
