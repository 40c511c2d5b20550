"""Constrained scalar types of the API: the type says what Python holds, the constraint what the API server checks."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, NewType

from gastown_operator.api.fields import Constraint

_DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_VALUE: Final = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_QUANTITY: Final = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"

Int32 = Annotated[int, Constraint(format="int32")]
Int64 = Annotated[int, Constraint(format="int64")]
Count = Annotated[int, Constraint(format="int64", minimum=0)]

NamespaceName = Annotated[str, Constraint(min_length=1, max_length=63, pattern=f"^{_DNS_LABEL}$")]
ObjectName = Annotated[
    str, Constraint(min_length=1, max_length=253, pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*$")
]
"""The name of a namespaced object: a DNS-1123 subdomain."""
DataKey = Annotated[str, Constraint(min_length=1, max_length=253, pattern="^[-._a-zA-Z0-9]+$")]
"""A key of a Secret or ConfigMap."""
LabelValue = Annotated[str, Constraint(max_length=63, pattern=f"^{_LABEL_VALUE}$")]
HTTPURL = Annotated[str, Constraint(max_length=2048, pattern=r"^https?://[A-Za-z0-9\[][^\s]*$")]
GitObjectID = Annotated[str, Constraint(max_length=64, pattern="^([0-9a-f]{40}|[0-9a-f]{64})$")]
ShortText = Annotated[str, Constraint(max_length=256)]
Script = Annotated[str, Constraint(max_length=8192)]

QuantityText = NewType("QuantityText", str)
"""A Kubernetes quantity in its string form."""
OlderQuantity = Annotated[QuantityText, Constraint(int_or_string=True, pattern=_QUANTITY)]
Quantity = Annotated[QuantityText, Constraint(int_or_string=True, pattern=_QUANTITY, max_length=64)]

AMOUNT: Final = "^[0-9]{1,7}([.][0-9]{1,6})?$"
Money = Annotated[Decimal, Constraint(int_or_string=True, pattern=AMOUNT, max_length=16)]
"""An amount of US dollars: never a binary float, which would not compare equal after a round trip."""
Duration = Annotated[
    timedelta,
    Constraint(min_length=2, max_length=16, pattern="^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$"),
]
JSONObject = Annotated[Mapping[str, Any], Constraint(opaque=True)]
"""An object of a Kubernetes type that we pass on and do not read."""
