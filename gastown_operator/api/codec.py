"""JSON as the API server speaks it ↔ the attrs classes of this package.

Unknown fields are ignored, so that an operator reads objects written by a newer one. Nothing is coerced: a number
where a string belongs is an error with the path of the field, not a surprise later.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from attrs import fields, fields_dict, has
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from gastown_operator.api.fields import json_name
from gastown_operator.api.scalars import QuantityText
from gastown_operator.runtime.objects import (
    EMPTY,
    MalformedObjectError,
    ObjectMeta,
    Raw,
    format_time,
    parse_metadata,
    parse_time,
)

T = TypeVar("T")

_DURATION: Final = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,4})s)?")


class ProjectionError(MalformedObjectError):
    """A stored object does not fit its class: says which object, which field, and why."""

    def __init__(self, kind: str, namespace: str, name: str, path: str, problem: str) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.path = path
        self.problem = problem
        where = f"{namespace}/{name}" if namespace else name
        super().__init__(f"{kind} {where}: {path}: {problem}")


def projection(cls: type[T], kind: str) -> Callable[[Raw], T]:
    """Return the function that projects whole objects of `kind` to `cls`; it raises ProjectionError."""

    def project(raw: Raw) -> T:
        try:
            return _FAST.structure(raw, cls)
        except Exception as error:
            metadata = raw.get("metadata")
            named = metadata if isinstance(metadata, dict) else {}
            path, problem = _explain(raw, cls, error)
            raise ProjectionError(
                kind, str(named.get("namespace", "")), str(named.get("name", "")), path, problem
            ) from error

    return project


def from_json(cls: type[T], raw: Any) -> T:
    """Structure a part of an object, such as a spec. Raises MalformedObjectError, which names the field."""
    try:
        return _FAST.structure(raw, cls)
    except Exception as error:
        path, problem = _explain(raw, cls, error)
        raise MalformedObjectError(f"{path}: {problem}") from error


def to_json(value: Any) -> dict[str, Any]:
    """Return the JSON form without what is unset: None, and empty strings, lists, maps and objects that are the default.

    The result of a status can be applied on the server and compared with what is stored: `to_json(x) == to_json(y)`
    exactly when `x` and `y` differ in nothing that is stored.
    """
    result: dict[str, Any] = _FAST.unstructure(value)
    return result


def to_json_value(value: Any) -> Any:
    """Return the JSON form of one value of a field: a scalar, or an object as by `to_json`."""
    return _FAST.unstructure(value)


def parse_duration(text: str) -> timedelta:
    """Parse hours, minutes and seconds such as `1h30m` or `90s`. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a duration such as 30s, 15m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Format whole seconds as `1h30m`; zero is `0s`."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if number]
    return "".join(parts) or "0s"


def _converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    for cls in (str, int, bool):
        converter.register_structure_hook(cls, _exactly)
    converter.register_structure_hook(datetime, lambda value, _: parse_time(_exactly(value, str)))
    converter.register_unstructure_hook(datetime, format_time)
    converter.register_structure_hook(timedelta, lambda value, _: parse_duration(_exactly(value, str)))
    converter.register_unstructure_hook(timedelta, format_duration)
    converter.register_structure_hook(Decimal, lambda value, _: _decimal(value))
    converter.register_unstructure_hook(Decimal, lambda value: format(value, "f"))
    converter.register_structure_hook_func(lambda cls: cls is QuantityText, lambda value, _: _quantity(value))
    converter.register_structure_hook_func(
        lambda cls: cls == Mapping[str, str], lambda value, _: MappingProxyType(_string_map(value))
    )
    converter.register_structure_hook(ObjectMeta, lambda value, _: parse_metadata({"metadata": value}))
    converter.register_structure_hook(StrEnum, _member)
    converter.register_unstructure_hook(StrEnum, lambda member: member.value)
    converter.register_structure_hook_factory(has, lambda cls: _structure_hook(cls, converter))
    converter.register_unstructure_hook_factory(has, lambda cls: _unstructure_hook(cls, converter))
    return converter


def _structure_hook(cls: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    names: dict[str, Any] = {
        attribute.name: override(rename=json_name(attribute)) for attribute in fields(cls)
    }
    structure = make_dict_structure_fn(cls, converter, **names)

    def hook(value: Any, _: Any) -> Any:
        return structure(_exactly(value, dict), cls)

    return hook


def _unstructure_hook(cls: type[Any], converter: Converter) -> Callable[[Any], dict[str, Any]]:
    """Leave out what equals its empty default; what has a telling default (`False`, `Idle`) is written."""
    written: dict[str, Any] = {
        attribute.name: override(rename=json_name(attribute), omit_if_default=_is_empty(attribute.default))
        for attribute in fields(cls)
    }
    return make_dict_unstructure_fn(cls, converter, **written)


def _is_empty(default: Any) -> bool:
    return default in (None, "", (), EMPTY) or has(type(default))


def _exactly(value: Any, cls: type[T]) -> T:
    if type(value) is not cls:
        raise TypeError(f"is {_kind(value)}, not {_KINDS[cls]}")
    return value


def _member(value: Any, cls: type[StrEnum]) -> StrEnum:
    try:
        return cls(value)
    except ValueError:
        raise ValueError(f"is {value!r}, not one of {', '.join(cls)}") from None


def _decimal(value: Any) -> Decimal:
    if type(value) not in (str, int):
        raise TypeError(f"is {_kind(value)}, not a decimal string or an integer")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a decimal number") from None


def _quantity(value: Any) -> QuantityText:
    if type(value) not in (str, int):
        raise TypeError(f"is {_kind(value)}, not a quantity")
    return QuantityText(str(value))


def _string_map(value: Any) -> dict[str, str]:
    return {key: _exactly(text, str) for key, text in _exactly(value, dict).items()}


_KINDS: Final[Mapping[type, str]] = {
    str: "a string",
    int: "an integer",
    bool: "a boolean",
    float: "a number",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def _explain(raw: Any, cls: type[Any], error: Exception) -> tuple[str, str]:
    """Structure once more with cattrs' detailed validation, which is slower, to learn the field's path."""
    try:
        _DETAILED.structure(raw, cls)
    except Exception as detailed:  # noqa: BLE001 - whatever failed is what is to be explained
        error = detailed
    path = ""
    while isinstance(error, (ClassValidationError, IterableValidationError)):
        path, error = _descend(path, error)
    problem = f"required, and missing ({error})" if isinstance(error, KeyError) else str(error)
    return path.lstrip(".") or "the object", problem


def _descend(path: str, group: ClassValidationError | IterableValidationError) -> tuple[str, Exception]:
    first = group.exceptions[0]
    for note in getattr(first, "__notes__", ()):
        if isinstance(note, AttributeValidationNote) and isinstance(group, ClassValidationError):
            return f"{path}.{json_name(fields_dict(group.cl)[note.name])}", first
        if isinstance(note, IterableValidationNote):
            return f"{path}[{note.index}]", first
    return path, first


_FAST: Final = _converter(detailed=False)
_DETAILED: Final = _converter(detailed=True)
