"""Types that several kinds share."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from attrs import field, frozen

from gastown_operator.api.fields import Constraint, ObjectSchema, Rule, doc
from gastown_operator.api.scalars import (
    AMOUNT,
    Count,
    DataKey,
    JSONObject,
    Money,
    ObjectName,
    OlderQuantity,
)
from gastown_operator.runtime.objects import EMPTY


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@frozen
class Condition:
    """One aspect of the object's state, with a reason for programs and a message for people."""

    type: Annotated[
        str,
        Constraint(
            max_length=316,
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
            r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        ),
    ] = field(metadata=doc("Type of the condition, in CamelCase.", older=True))
    status: ConditionStatus = field(metadata=doc("Whether the condition holds.", older=True))
    reason: Annotated[
        str, Constraint(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ] = field(metadata=doc("Why, as one stable CamelCase word.", older=True))
    message: Annotated[str, Constraint(max_length=32768)] = field(
        metadata=doc("Why, for people, and what to do about it.", older=True)
    )
    last_transition_time: datetime = field(metadata=doc("When the status last changed.", older=True))
    observed_generation: Annotated[int, Constraint(format="int64", minimum=0)] | None = field(
        default=None,
        metadata=doc("The metadata.generation from which the condition was determined.", older=True),
    )


CONDITIONS = doc(
    "What is known about the object, one entry per type.",
    older=True,
    list_type="map",
    list_map_keys=("type",),
)


@frozen
class SecretReference:
    """Names a Secret in the namespace of the object."""

    name: str = field(metadata=doc("Name of the Secret.", older=True))


@frozen
class SecretKeySelector:
    """Names one key of a Secret in the namespace of the object."""

    name: str = field(metadata=doc("Name of the Secret.", older=True))
    key: str = field(metadata=doc("Key in the Secret.", older=True))


@frozen
class RigSecretKeySelector:
    """Names one key of a Secret in the rig's work namespace."""

    name: ObjectName = field(metadata=doc("Name of the Secret."))
    key: DataKey = field(metadata=doc("Key in the Secret."))


@frozen
class LocalObjectReference:
    """Names an object in the same namespace."""

    SCHEMA: ClassVar = ObjectSchema(map_type="atomic")

    name: str = field(
        default="",
        metadata=doc("Name of the object; empty counts as unset.", older=True, server_default=True),
    )


@frozen
class EnvVar:
    """An environment variable of a container."""

    name: str = field(metadata=doc("Name of the variable.", older=True))
    value: str = field(default="", metadata=doc("Value of the variable, taken literally.", older=True))
    value_from: JSONObject | None = field(
        default=None,
        metadata=doc(
            "Source of the value, as in a Pod; secrets and config maps must be allowed by the Rig.",
            older=True,
        ),
    )


@frozen
class ResourceClaim:
    """Names an entry of the Pod's resource claims."""

    name: str = field(metadata=doc("Name of the claim.", older=True))
    request: str = field(
        default="", metadata=doc("Request within the claim; all of it if empty.", older=True)
    )


@frozen
class ResourceRequirements:
    """Compute resources of a container, as in a Pod."""

    limits: Mapping[str, OlderQuantity] = field(
        default=EMPTY,
        metadata=doc(
            'The most that the container may use, such as `{cpu: "0.5", memory: 2Gi}`; a decimal needs quotes.',
            older=True,
        ),
    )
    requests: Mapping[str, OlderQuantity] = field(
        default=EMPTY, metadata=doc("What the scheduler reserves; defaults to the limits.", older=True)
    )
    claims: tuple[ResourceClaim, ...] = field(
        default=(),
        metadata=doc(
            "Resource claims that the container uses.", older=True, list_type="map", list_map_keys=("name",)
        ),
    )


_NOT_NEGATIVE = Rule("type(self) != int || self >= 0", "must not be negative")
_AMOUNT = Rule(
    f"type(self) == int || self.matches('{AMOUNT}')",
    'must be US dollars such as 5 or "2.50", with quotes around a decimal; at most 7 digits and 6 decimals',
)


@frozen(kw_only=True)
class Budget:
    """Limits on what models may cost; the first one reached stops the work with its results kept."""

    max_tokens: Annotated[int, Constraint(format="int64", minimum=1)] | None = field(
        default=None,
        metadata=doc("Most input and output tokens together, cached ones included. No limit if unset."),
    )
    max_cost_usd: Money | None = field(
        default=None,
        metadata=doc(
            'Most US dollars: an integer, or a decimal in quotes such as "2.50" (without them it is a number, which is refused). The '
            "price of the model must be known. No limit if unset.",
            rules=(_NOT_NEGATIVE, _AMOUNT),
        ),
    )


@frozen(kw_only=True)
class Usage:
    """What the work has cost so far, measured from the provider's answers."""

    input_tokens: Count = field(default=0, metadata=doc("Tokens sent, cached ones included."))
    output_tokens: Count = field(default=0, metadata=doc("Tokens received."))
    cost_usd: Money | None = field(
        default=None,
        metadata=doc(
            "US dollars, as a decimal string. Absent where the price of no model in use is known.",
            rules=(_NOT_NEGATIVE,),
        ),
    )
    cost_is_lower_bound: bool | None = field(
        default=None,
        metadata=doc(
            "True where a part of the tokens has no known price, so that costUSD is the least that it cost."
        ),
    )


class OutcomeClass(StrEnum):
    """How an attempt ended; decides what happens next."""

    SUCCEEDED = "Succeeded"
    NO_CHANGES = "NoChanges"
    AGENT_ERROR = "AgentError"
    AUTH_ERROR = "AuthError"
    BUDGET_EXCEEDED = "BudgetExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    RESOURCE_EXCEEDED = "ResourceExceeded"
    STALLED = "Stalled"
    INFRASTRUCTURE = "Infrastructure"
    CONFIG_ERROR = "ConfigError"


class RetryClass(StrEnum):
    """The outcomes after which a retry can be asked for; infrastructure failures are always retried."""

    NO_CHANGES = "NoChanges"
    AGENT_ERROR = "AgentError"
    BUDGET_EXCEEDED = "BudgetExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    RESOURCE_EXCEEDED = "ResourceExceeded"
    STALLED = "Stalled"


@frozen(kw_only=True)
class Retry:
    """When an attempt that failed is followed by another, which starts from its checkpoint."""

    max_attempts: Annotated[int, Constraint(format="int32", minimum=1, maximum=20)] | None = field(
        default=None,
        metadata=doc(
            "Most attempts after a person asked for it, those that the infrastructure ended not counted. Defaults to 3."
        ),
    )
    classes: tuple[RetryClass, ...] = field(
        default=(),
        metadata=doc("Outcomes after which to try again. None by default.", list_type="set", max_items=6),
    )
