"""attrs classes → OpenAPI v3 structural schemas, in what Kubernetes 1.26 accepts.

What the older operator did not have is bounded: where a class names no limit, the defaults below apply, so that no object
can be filled without end and CEL's cost estimate stays finite. Below a field of the older operator only the limits that are
spelled out apply, since an object that was stored with a longer value must stay valid.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from attrs import NOTHING, Attribute, fields, has

from gastown_operator.api.codec import to_json_value
from gastown_operator.api.fields import (
    Constraint,
    FieldSchema,
    ObjectSchema,
    Rule,
    field_schema,
    json_name,
)

Schema = dict[str, Any]

MAX_LENGTH: Final = 4096
MAX_ITEMS: Final = 64
MAX_PROPERTIES: Final = 32

_SCALARS: Final[Mapping[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "string"},
    Decimal: {"type": "string"},
}
_INT_OR_STRING: Final[Schema] = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
}


def object_schema(cls: type[Any], *, bounded: bool) -> Schema:
    """Return the schema of an attrs class whose every field is documented with `doc`."""
    schema: Schema = {"type": "object", "description": _summary(cls)}
    required = sorted(json_name(attribute) for attribute in fields(cls) if _required(attribute))
    if required:
        schema["required"] = required
    schema["properties"] = {
        json_name(attribute): _property(attribute, bounded=bounded) for attribute in fields(cls)
    }
    return schema | object_keywords(cls)


def object_keywords(cls: type[Any]) -> Schema:
    """Return what a class says of its object as a whole: CEL rules and map type."""
    said: ObjectSchema = getattr(cls, "SCHEMA", ObjectSchema())
    return _rules(said.rules) | ({"x-kubernetes-map-type": said.map_type} if said.map_type else {})


def _property(attribute: "Attribute[Any]", *, bounded: bool) -> Schema:
    said = field_schema(attribute.metadata)
    bounded = bounded or not said.older
    schema = {**_type(attribute.type, bounded=bounded), "description": said.description}
    schema |= _container_keywords(said)
    if said.server_default:
        schema["default"] = to_json_value(attribute.default)
    return _join(schema, _rules(said.rules))


def _container_keywords(said: FieldSchema) -> Schema:
    keywords = {
        "minItems": said.min_items,
        "maxItems": said.max_items,
        "maxProperties": said.max_properties,
        "x-kubernetes-list-type": said.list_type,
        "x-kubernetes-list-map-keys": list(said.list_map_keys) or None,
    }
    return {name: value for name, value in keywords.items() if value is not None}


def _type(annotation: Any, *, bounded: bool) -> Schema:
    """Return the schema of a value of the annotated type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _constrained(arguments[0], arguments[1], bounded=bounded)
    if origin in (Union, UnionType):
        (present,) = (argument for argument in arguments if argument is not NoneType)
        return _type(present, bounded=bounded)
    if origin is tuple:
        limit = {"maxItems": MAX_ITEMS} if bounded else {}
        return {"type": "array", "items": _type(arguments[0], bounded=bounded)} | limit
    if origin is Mapping:
        limit = {"maxProperties": MAX_PROPERTIES} if bounded else {}
        return {"type": "object", "additionalProperties": _type(arguments[1], bounded=bounded)} | limit
    if has(annotation):
        return object_schema(annotation, bounded=bounded)
    return _scalar(annotation, bounded=bounded)


def _scalar(annotation: Any, *, bounded: bool) -> Schema:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return {"type": "string", "enum": [member.value for member in annotation]}
    limit = {"maxLength": MAX_LENGTH} if annotation is str and bounded else {}
    return _SCALARS[annotation] | limit


def _constrained(annotation: Any, constraint: Constraint, *, bounded: bool) -> Schema:
    if constraint.opaque:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if constraint.int_or_string:
        return _INT_OR_STRING | ({"maxLength": MAX_LENGTH} if bounded else {}) | constraint.keywords()
    return _type(annotation, bounded=bounded) | constraint.keywords()


def _required(attribute: "Attribute[Any]") -> bool:
    return attribute.default is NOTHING or field_schema(attribute.metadata).required


def _rules(rules: tuple[Rule, ...]) -> Schema:
    if not rules:
        return {}
    return {"x-kubernetes-validations": [{"rule": rule.rule, "message": rule.message} for rule in rules]}


def _join(schema: Schema, more: Schema) -> Schema:
    """Merge two schemas; rules of the field are added to those of its class."""
    key = "x-kubernetes-validations"
    if key in schema and key in more:
        return schema | {key: schema[key] + more[key]}
    return schema | more


def _summary(cls: type[Any]) -> str:
    return " ".join((cls.__doc__ or "").split())
